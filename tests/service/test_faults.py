"""The engine while its devices hang, fail and come back, and while models fail to load."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.contract.errors import InferenceFailed, NotReady
from service.contract.request import DepthRequest, Format
from service.engine import Engine
from service.telemetry.metrics import Metrics
from tests.service.checkpoints import write_checkpoint
from tests.service.green import POISON, SIZE, GreenFactory
from tests.service.opened import settings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_checkpoint(folder / "student.safetensors", metres_per_unit=1.0)


@asynccontextmanager
async def opened(models: Path, factory: GreenFactory, **chosen: object) -> AsyncIterator[Engine]:
    wanted = settings(models=models, **{"backend": "simulated", "watch_interval_s": 0.0, **chosen})
    async with Engine(wanted, Metrics(CollectorRegistry()), opening=factory.open) as engine:
        await engine.wait_ready()
        yield engine


def asking(green: int, deadline_s: float | None = None) -> DepthRequest:
    pixels = np.full((*SIZE, 3), green, np.uint8)
    return DepthRequest(image=pixels, format=Format.FLOAT32, size="model", deadline_s=deadline_s)


async def green_of(engine: Engine, green: int) -> float:
    """Ask for an image of one green, and read it from its depth."""
    answer = await engine.depth(asking(green))
    depth = np.frombuffer(answer.body, "<f4")
    assert depth.min() == depth.max()
    return 256 / float(depth[0]) - 1


def figure(engine: Engine, name: str, **labels: str) -> float | None:
    return engine._metrics.registry.get_sample_value(name, labels)


async def test_while_a_hung_backend_is_rebuilt_readiness_falls_and_then_it_rises(checkpoint: Path) -> None:
    factory, heard = GreenFactory(), []
    async with opened(checkpoint, factory, hang_timeout_s=0.2) as engine:
        risen = asyncio.Event()
        engine.on_ready_change(lambda ready: (heard.append(ready), risen.set() if ready else None))
        factory.gate.clear()
        with pytest.raises(InferenceFailed, match="restarted"):
            await engine.depth(asking(1))
        assert (engine.ready, engine.live) == (False, True)
        with pytest.raises(NotReady, match="rebuilding"):
            await engine.depth(asking(1))
        factory.gate.set()
        await asyncio.wait_for(risen.wait(), 30)
        assert heard == [False, True]
        assert await green_of(engine, 200) == pytest.approx(200)
        assert figure(engine, "depth_backend_restarts_total", model="student", reason="hung") == 1


async def test_a_poisonous_image_fails_alone_in_its_batch(checkpoint: Path) -> None:
    factory = GreenFactory()
    async with opened(checkpoint, factory) as engine:
        factory.gate.clear()
        factory.entered.clear()
        first = asyncio.create_task(green_of(engine, 1))
        await asyncio.to_thread(factory.entered.wait, 5)
        others = [asyncio.create_task(green_of(engine, green)) for green in (50, POISON, 60)]
        decoded_bytes = 4 * SIZE[0] * SIZE[1] * 3  # of all four, and nothing for work on them
        while figure(engine, "depth_held_pixel_bytes") != decoded_bytes:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
        factory.gate.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert isinstance(answers[2], InferenceFailed)
        assert [answers[0], answers[1], answers[3]] == pytest.approx([1, 50, 60])
        assert engine.ready


async def test_a_lost_backend_is_not_rebuilt_from_a_file_that_took_its_checkpoint_s_place(
    tmp_path: Path,
) -> None:
    factory = GreenFactory()
    checkpoint = write_checkpoint(tmp_path / "student.safetensors", metres_per_unit=1.0)
    async with opened(checkpoint, factory, hang_timeout_s=0.2) as engine:
        before, opened_before = engine.model().version, len(factory.opened)
        write_checkpoint(checkpoint, seed=1, metres_per_unit=1.0)
        factory.gate.clear()
        with pytest.raises(InferenceFailed):
            await engine.depth(asking(1))
        factory.gate.set()
        with pytest.raises(NotReady, match="rebuilding"):
            await engine.depth(asking(1))
        await engine.reload()
        assert engine.model().version != before
        assert len(factory.opened) == opened_before + 1
        assert await green_of(engine, 7) == pytest.approx(7)


async def test_threads_that_hung_are_remembered_when_their_model_is_swapped_away(checkpoint: Path) -> None:
    factory = GreenFactory()
    async with opened(checkpoint, factory, hang_timeout_s=0.05) as engine:
        for _ in range(9):
            assert engine.live
            factory.gate.clear()
            with pytest.raises(InferenceFailed):
                await engine.depth(asking(1))
            factory.gate.set()
            await engine.reload("student")
        assert not engine.live


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyError("weights"), MemoryError()])
async def test_whatever_a_library_throws_while_it_loads_what_served_before_serves_on(
    error: Exception, checkpoint: Path
) -> None:
    factory = GreenFactory()
    async with opened(checkpoint, factory) as engine:
        factory.error = error
        with pytest.raises(NotReady, match="what served before still serves"):
            await engine.reload("student")
        assert engine.ready
        assert await green_of(engine, 9) == pytest.approx(9)
        assert figure(engine, "depth_model_loads_total", model="student", result="failed") == 1


async def test_a_backend_that_hangs_while_it_warms_up_is_a_model_that_cannot_be_loaded(
    checkpoint: Path,
) -> None:
    factory = GreenFactory()
    factory.gate.clear()
    wanted = settings(models=checkpoint, backend="simulated", watch_interval_s=0.0, warm_up_timeout_s=0.1)
    async with Engine(wanted, Metrics(CollectorRegistry()), opening=factory.open) as engine:
        with pytest.raises(NotReady, match="did not answer"):
            await engine.wait_ready()
        assert [info.state for info in engine.models()] == ["failed"]
        factory.gate.set()


async def test_while_a_model_is_loaded_a_batch_may_take_longer_than_when_it_serves(checkpoint: Path) -> None:
    factory = GreenFactory()
    factory.gate.clear()
    asyncio.get_running_loop().call_later(0.5, factory.gate.set)
    async with opened(checkpoint, factory, hang_timeout_s=0.1, warm_up_timeout_s=60.0) as engine:
        factory.gate.clear()
        with pytest.raises(InferenceFailed):
            await green_of(engine, 3)
        factory.gate.set()


async def test_the_state_of_a_model_is_one_however_often_it_is_loaded(checkpoint: Path) -> None:
    async with opened(checkpoint, GreenFactory()) as engine:
        for _ in range(3):
            await engine.reload("student")
        version = engine.model().version
        states = [
            (sample.labels, sample.value)
            for family in engine._metrics.registry.collect()
            if family.name == "depth_model_state"
            for sample in family.samples
        ]
        assert states == [({"model": "student", "version": version, "state": "ready"}, 1.0)]


async def test_before_the_folder_is_known_no_model_is_unknown(checkpoint: Path) -> None:
    wanted = settings(models=checkpoint, backend="simulated", watch_interval_s=0.0)
    async with Engine(wanted, Metrics(CollectorRegistry()), opening=GreenFactory().open) as engine:
        for name in (None, "student"):
            with pytest.raises(NotReady):
                engine.model(name)
        await engine.wait_ready()
        assert engine.model("student").state == "ready"


async def test_readiness_rises_once_though_other_models_come_first_by_name(tmp_path: Path) -> None:
    for name in ("a", "student"):
        write_checkpoint(tmp_path / f"{name}.safetensors")
    heard = []
    wanted = settings(models=tmp_path, backend="simulated", watch_interval_s=0.0)
    engine = Engine(wanted, Metrics(CollectorRegistry()), opening=GreenFactory().open)
    engine.on_ready_change(heard.append)
    async with engine:
        await engine.wait_ready()
        assert heard == [True]
        assert engine.model().name == "student"


async def test_a_drain_cut_short_answers_even_what_is_still_being_decoded(checkpoint: Path) -> None:
    factory = GreenFactory()
    async with opened(checkpoint, factory) as engine:
        factory.gate.clear()
        factory.entered.clear()
        running = asyncio.create_task(engine.depth(asking(1)))
        await asyncio.to_thread(factory.entered.wait, 5)
        decoding = asyncio.create_task(engine.depth(asking(2)))
        await asyncio.sleep(0)
        assert await engine.drain(0.0) == 2
        for task in (running, decoding):
            with pytest.raises(NotReady):
                await asyncio.wait_for(task, 30)
        factory.gate.set()


async def test_a_damaged_header_in_the_folder_is_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"nonsense": "yes"}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    wanted = settings(models=tmp_path, backend="simulated", watch_interval_s=0.0)
    async with Engine(wanted, Metrics(CollectorRegistry()), opening=GreenFactory().open) as engine:
        with pytest.raises(NotReady, match="not a checkpoint of ours"):
            await engine.wait_ready()
