"""A device that fails for good makes `live` false, so that an orchestrator replaces the process."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from service.backends import DeviceLost
from service.contract.errors import ServiceError
from service.contract.request import DepthRequest, Format
from service.engine import Engine
from service.lifespan import FAILED, serve
from service.telemetry.metrics import Metrics
from tests.service.checkpoints import write_checkpoint
from tests.service.green import SIZE, GreenBackend, GreenFactory
from tests.service.opened import settings


def _photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZE[::-1], (7, 7, 7)).save(file, "PNG")
    return file.getvalue()


PHOTO = _photo()


class LosingBackend(GreenBackend):
    def predict(self, images: np.ndarray) -> np.ndarray:
        if self._factory.lost:
            raise DeviceLost("cuda:0: an illegal memory access was encountered")
        return super().predict(images)


class LosingHouse(GreenFactory):
    lost = False

    def open(self, *_: object) -> GreenBackend:
        super().open(*_)
        return LosingBackend(self)


@asynccontextmanager
async def opened(tmp_path: Path, factory: GreenFactory, **chosen: object) -> AsyncIterator[Engine]:
    path = write_checkpoint(tmp_path / "student.safetensors")
    wanted = settings(models=path, backend="simulated", watch_interval_s=0.0, **chosen)
    async with Engine(wanted, Metrics(CollectorRegistry()), opening=factory.open) as engine:
        await engine.wait_ready()
        yield engine


async def ask(engine: Engine) -> float:
    pixels = np.full((*SIZE, 3), 7, np.uint8)
    answer = await engine.depth(DepthRequest(image=pixels, format=Format.FLOAT32, size="model"))
    return float(np.frombuffer(answer.body, "<f4")[0])


async def fail(engine: Engine) -> None:
    with pytest.raises(ServiceError):
        await ask(engine)


async def until_ready(engine: Engine) -> None:
    async with asyncio.timeout(30):
        while not engine.ready:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_lost_context_is_seen_at_once_however_often_the_backend_can_be_built(tmp_path: Path) -> None:
    factory = LosingHouse()
    async with opened(tmp_path, factory) as engine:
        assert (await ask(engine), engine.live) == (pytest.approx(256 / 8 * 2), True)
        factory.lost = True
        await fail(engine)
        assert not engine.live
        await until_ready(engine)
        assert not engine.live


async def test_a_service_that_has_lost_a_device_ends_by_itself_with_a_status_that_says_so(
    tmp_path: Path,
) -> None:
    factory, ready = LosingHouse(), tmp_path / "ready.json"
    path = write_checkpoint(tmp_path / "student.safetensors")
    chosen = settings(
        models=path, backend="simulated", http_port=0, grpc_port=0, ready_file=ready, linger_s=0.0
    )
    serving = asyncio.ensure_future(serve(chosen, lambda *given: Engine(*given, opening=factory.open)))
    async with asyncio.timeout(60):
        while not ready.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{json.loads(ready.read_text())['http_port']}/v1/depth"
        async with httpx.AsyncClient() as client:
            assert (await client.post(address, content=PHOTO)).status_code == 200
            factory.lost = True
            assert (await client.post(address, content=PHOTO)).status_code == 500
        assert await serving == FAILED


async def test_a_backend_that_cannot_be_rebuilt_is_lost_after_its_time_and_not_before(tmp_path: Path) -> None:
    factory = GreenFactory()
    async with opened(tmp_path, factory, backend_lost_s=1.0) as engine:
        factory.failing = True
        factory.break_down()
        for _ in range(3):
            await fail(engine)
        assert (engine.ready, engine.live) == (False, True)
        async with asyncio.timeout(30):
            while engine.live:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        factory.failing, factory.error = False, None
        await until_ready(engine)
        assert (await ask(engine), engine.live) == (pytest.approx(256 / 8 * 2), True)


async def test_a_backend_that_is_rebuilt_and_fails_again_and_again_is_lost(tmp_path: Path) -> None:
    factory = GreenFactory()
    async with opened(tmp_path, factory) as engine:
        for losses in range(8):
            assert (losses, engine.live) == (losses, True)
            factory.failing = True
            for _ in range(3):
                await fail(engine)
            factory.failing = False
            await until_ready(engine)
        assert not engine.live
        await ask(engine)
        assert engine.live


async def test_images_that_fail_among_others_that_are_answered_lose_no_device(tmp_path: Path) -> None:
    factory = GreenFactory()
    async with opened(tmp_path, factory) as engine:
        for _ in range(10):
            factory.failing = True
            for _ in range(3):
                await fail(engine)
            factory.failing = False
            await until_ready(engine)
            await ask(engine)
        assert engine.live
