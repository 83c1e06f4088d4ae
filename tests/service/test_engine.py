import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from model.export import FLOAT32_ERROR
from model.predictor import Predictor
from service.codec.steadiness import Steadier
from service.contract.answer import DepthAnswer
from service.contract.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InvalidArgument,
    InvalidImage,
    NotReady,
    Overloaded,
    UnknownModel,
)
from service.contract.pose import Pose
from service.contract.request import (
    CameraHeight,
    DepthRequest,
    FieldOfView,
    Format,
    Intrinsics,
    KnownDistance,
)
from service.engine import Engine, Turn
from service.telemetry.metrics import Metrics
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import settings

RANDOM = np.random.default_rng(0)
PHOTO = cv2.resize(RANDOM.integers(0, 255, (6, 9, 3), np.uint8), (180, 120), interpolation=cv2.INTER_CUBIC)


def png(pixels: np.ndarray = PHOTO) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors", metres_per_unit=2.0)
    write_checkpoint(folder / "relative.safetensors", seed=3, metres_per_unit=None)
    return folder


@asynccontextmanager
async def opened(folder: Path, **chosen: object) -> AsyncIterator[Engine]:
    defaults = {"backend": "simulated", "watch_interval_s": 0.0, "codec_threads": 2}
    engine = Engine(settings(models=folder, **{**defaults, **chosen}), Metrics(CollectorRegistry()))
    async with engine:
        await engine.wait_ready()
        yield engine


def floats(answer: DepthAnswer) -> np.ndarray:
    return np.frombuffer(answer.body, "<f4").reshape(answer.height, answer.width)


async def test_an_answer_is_the_predictor_s(folder: Path, tmp_path: Path) -> None:
    expected = Predictor.from_checkpoint(folder / "student.safetensors").predict([PHOTO])[0]
    chosen = {"backend": "openvino", "precision": "float32", "threads": 1, "cache_dir": tmp_path}
    async with opened(folder / "student.safetensors", **chosen) as engine:
        for image in (png(), PHOTO):
            answer = await engine.depth(DepthRequest(image=image, format=Format.FLOAT32, request_id="7"))
            np.testing.assert_allclose(floats(answer), expected, rtol=2 * FLOAT32_ERROR)
        assert (answer.unit, answer.scale_source, answer.scale) == ("metre", "checkpoint", 1.0)
        assert answer.minimum == pytest.approx(expected.min(), rel=1e-3)
        assert answer.maximum == pytest.approx(expected.max(), rel=1e-3)
        assert (answer.model, answer.request_id, answer.batch_size) == ("student", "7", 1)
        assert set(answer.timings) == {"decode", "queue", "predict", "encode", "total"}


async def test_the_map_has_the_caller_s_size_or_the_model_s(folder: Path) -> None:
    async with opened(folder) as engine:
        own = await engine.depth(DepthRequest(image=png()))
        model = await engine.depth(DepthRequest(image=png(), size="model"))
    assert (own.height, own.width) == (120, 180)
    assert (model.height, model.width) == (64, 96)


async def test_many_at_once_share_batches_and_get_their_own_answers(folder: Path) -> None:
    levels = [int(level) for level in RANDOM.permutation(40)]
    async with opened(folder) as engine:
        requests = [
            DepthRequest(image=np.full((64, 96, 3), level, np.uint8), format=Format.FLOAT32)
            for level in levels
        ]
        answers = await asyncio.gather(*(engine.depth(request) for request in requests))
    for level, answer in zip(levels, answers, strict=True):
        # The simulated device's disparity is (1 + green) / 256, and a unit is worth 2 metres.
        np.testing.assert_allclose(floats(answer), 2 * 256 / (1 + level), rtol=1e-5)
    assert max(answer.batch_size for answer in answers) > 1


async def test_a_bad_image_harms_no_neighbour(folder: Path) -> None:
    async with opened(folder) as engine:
        bad = engine.depth(DepthRequest(image=b"not an image"))
        good = [engine.depth(DepthRequest(image=png())) for _ in range(6)]
        answers = await asyncio.gather(bad, *good, return_exceptions=True)
    assert isinstance(answers[0], InvalidImage)
    assert all(isinstance(answer, DepthAnswer) for answer in answers[1:])


async def test_the_range_leaves_out_what_a_format_has_no_number_for(folder: Path) -> None:
    async with opened(folder) as engine:
        ends = floats(await engine.depth(DepthRequest(image=png(), format=Format.FLOAT32, model="relative")))
        far = 65.5355 / float(np.median(ends)) * float(ends[60, 90])  # half of the map lies beyond 16 bits
        anchor = KnownDistance(x_px=90, y_px=60, distance_m=far)
        asked = DepthRequest(image=png(), format=Format.UINT16_MM, anchor=anchor, model="relative")
        answer = await engine.depth(asked)
    stored = np.frombuffer(answer.body, "<u2")
    assert 0 < np.count_nonzero(stored) < stored.size
    assert answer.maximum == pytest.approx(stored.max() / 1000, abs=6e-4)
    assert answer.minimum == pytest.approx(stored[stored > 0].min() / 1000, abs=6e-4)


async def test_relative_depth_becomes_metres_by_a_known_distance_and_says_so(folder: Path) -> None:
    async with opened(folder) as engine:
        asked = DepthRequest(image=png(), model="relative", format=Format.FLOAT32)
        plain = await engine.depth(asked)
        known = await engine.depth(replace(asked, anchor=KnownDistance(x_px=90, y_px=60, distance_m=5)))
    assert (plain.unit, plain.scale_source) == ("relative", "none")
    assert (known.unit, known.scale_source) == ("metre", "known-distance")
    assert floats(known)[60, 90] == pytest.approx(5, rel=0.05)
    ratio = floats(known) / floats(plain)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


async def test_a_camera_height_gives_metres_where_there_is_ground(folder: Path) -> None:
    """The simulated device takes brightness for disparity: a ramp below the horizon is flat ground."""
    rows = np.arange(64, dtype=np.float32)
    ramp = np.clip((rows + 0.5 - 32) * 6, 0, 255).astype(np.uint8)
    street = np.repeat(np.repeat(ramp[:, None, None], 96, axis=1), 3, axis=2)
    lens = FieldOfView(horizontal_deg=90)
    asked = DepthRequest(image=street, model="relative", format=Format.FLOAT32, lens=lens)
    async with opened(folder) as engine:
        low, high = [
            await engine.depth(replace(asked, anchor=CameraHeight(height_m=height_m)))
            for height_m in (1.5, 3.0)
        ]
    assert (low.unit, low.scale_source) == ("metre", "camera-height")
    np.testing.assert_allclose(floats(high), 2 * floats(low), rtol=1e-5)
    # 48 pixels of focal length: the ground 1.5 m below is seen 31.5 pixels down at 1.5 * 48 / 31.5 metres.
    assert floats(low)[63, 48] == pytest.approx(1.5 * 48 / 31.5, rel=0.05)


async def test_an_answer_has_the_intrinsics_of_its_own_size(folder: Path) -> None:
    whole = Intrinsics(fx_px=100, fy_px=110, cx_px=60, cy_px=40)
    asked = DepthRequest(image=np.zeros((128, 192, 3), np.uint8), lens=whole)
    async with opened(folder) as engine:
        as_sent = await engine.depth(asked)
        as_seen = await engine.depth(replace(asked, size="model"))
        unknown = await engine.depth(replace(asked, lens=None))
    assert (as_sent.intrinsics, unknown.intrinsics) == (whole, None)
    assert (as_seen.height, as_seen.width) == (64, 96)
    assert as_seen.intrinsics == Intrinsics(fx_px=50, fy_px=55, cx_px=30, cy_px=20)


def turn_of(steadier: Steadier, before: asyncio.Event | None = None, pose: Pose | None = None) -> Turn:
    if before is None:
        before = asyncio.Event()
        before.set()
    return Turn(steadier=steadier, before=before, done=asyncio.Event(), pose=pose)


async def test_a_frame_s_depth_is_held_and_its_turn_ends_for_the_next(folder: Path) -> None:
    request = DepthRequest(image=png(), format=Format.FLOAT32)
    steadier, turns = Steadier(0.8), []
    async with opened(folder) as engine:
        plain = floats(await engine.depth(request))
        for _ in range(2):
            turns.append(turn_of(steadier))
            held = floats(await engine.depth(request, turns[-1]))
    assert all(turn.done.is_set() for turn in turns)
    np.testing.assert_allclose(held, plain, rtol=1e-6)  # the same picture: nothing to hold


async def test_a_pose_needs_a_lens(folder: Path) -> None:
    turn = turn_of(Steadier(0.8), pose=Pose.of(np.eye(4)))
    async with opened(folder) as engine:
        with pytest.raises(InvalidArgument, match="a pose needs a lens"):
            await engine.depth(DepthRequest(image=png()), turn)


async def test_an_unknown_model_is_refused(folder: Path) -> None:
    async with opened(folder) as engine:
        with pytest.raises(UnknownModel, match="no model 'huge'"):
            await engine.depth(DepthRequest(image=png(), model="huge"))


async def test_a_deadline_that_passed_is_answered_as_such(folder: Path) -> None:
    async with opened(folder) as engine:
        with pytest.raises((DeadlineExceeded, Overloaded)):
            await engine.depth(DepthRequest(image=png(), deadline_s=time.monotonic() - 1))


async def test_a_full_queue_refuses_with_a_time_to_come_again(folder: Path) -> None:
    async with opened(folder, queue_items=2) as engine:
        asked = [engine.depth(DepthRequest(image=png())) for _ in range(30)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert refused
    assert all((error.retry_after_s or 0) > 0 for error in refused)
    assert all(isinstance(answer, Overloaded | DepthAnswer) for answer in answers)


class Held(asyncio.Event):
    """An event that counts those who wait for it."""

    waiting = 0

    async def wait(self) -> bool:  # type: ignore[override]
        self.waiting += 1
        return await super().wait()


async def test_what_those_before_have_still_to_come_counts_against_a_deadline(folder: Path) -> None:
    async with opened(folder) as engine:
        # Now it knows how long that takes.
        await engine.depth(DepthRequest(image=png()), turn_of(Steadier(0.5)))
        held = Held()
        before = [
            asyncio.create_task(engine.depth(DepthRequest(image=png()), turn_of(Steadier(0.5), held)))
            for _ in range(20)
        ]
        async with asyncio.timeout(30):
            while held.waiting < len(before):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        with pytest.raises(Overloaded) as refused:  # though nobody waits for a thread or a device
            await engine.depth(DepthRequest(image=png(), deadline_s=time.monotonic() + 0.001))
        assert (refused.value.retry_after_s or 0) > 0
        held.set()
        await asyncio.gather(*before)


async def test_a_caller_who_goes_leaves_no_trace_but_a_count(folder: Path) -> None:
    metrics = Metrics(CollectorRegistry())
    engine = Engine(settings(models=folder, backend="simulated", watch_interval_s=0.0), metrics)
    async with engine:
        await engine.wait_ready()
        task = asyncio.create_task(engine.depth(DepthRequest(image=png(), transport="http")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        value = metrics.registry.get_sample_value
        assert value("depth_requests_cancelled_total", {"transport": "http"}) == 1
        assert value("depth_in_flight", {"transport": "http"}) == 0
        assert isinstance(await engine.depth(DepthRequest(image=png())), DepthAnswer)


async def test_draining_answers_what_was_accepted_and_refuses_the_rest(folder: Path) -> None:
    async with opened(folder) as engine:
        changes: list[bool] = []
        engine.on_ready_change(changes.append)
        accepted = [asyncio.create_task(engine.depth(DepthRequest(image=png()))) for _ in range(5)]
        await asyncio.sleep(0)
        left = await engine.drain(10)
        assert left == 0
        assert all(isinstance(task.result(), DepthAnswer) for task in accepted)
        with pytest.raises(NotReady):
            await engine.depth(DepthRequest(image=png()))
        assert not engine.ready
        assert changes == [False]


async def test_a_reload_under_load_fails_no_request(folder: Path, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "student.safetensors", seed=0)
    async with opened(tmp_path) as engine:
        swapped, versions = asyncio.Event(), set()

        async def ask() -> None:
            while (
                not swapped.is_set()
            ):  # so every answer is of a request that began before the last swap was done
                versions.add((await engine.depth(DepthRequest(image=png()))).model_version)

        load = [asyncio.create_task(ask()) for _ in range(4)]
        for seed in (1, 2):
            version = engine.model().version
            while version not in versions:  # noqa: ASYNC110 - the load ends only with the swaps
                await asyncio.sleep(0.001)
            await asyncio.to_thread(write_checkpoint, path, seed=seed)
            await engine.reload()
            assert engine.model().version != version
        swapped.set()
        await asyncio.gather(*load)
    assert len(versions) >= 2


async def test_an_empty_folder_says_that_there_is_nothing_to_serve(tmp_path: Path) -> None:
    engine = Engine(settings(models=tmp_path, backend="simulated"), Metrics(CollectorRegistry()))
    async with engine:
        with pytest.raises(NotReady, match="no checkpoint lies in"):
            await engine.wait_ready()


async def test_depth_is_returned_up_to_a_bound_and_at_the_network_s_size_beyond(folder: Path) -> None:
    async with opened(folder, max_depth_pixels=180 * 120 - 1) as engine:
        with pytest.raises(ImageTooLarge, match=r"180x120 .*DEPTH_MAX_DEPTH_PIXELS.* size: model"):
            await engine.depth(DepthRequest(image=png()))
        assert (await engine.depth(DepthRequest(image=png(), size="model"))).width < 180


async def test_a_photograph_that_is_odd_is_answered_with_a_notice(folder: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((120, 180), 4000, np.uint16)).save(file, "PNG")
    async with opened(folder) as engine:
        answer = await engine.depth(DepthRequest(image=file.getvalue()))
        assert "multiply its values by 16" in answer.notice
        assert not (await engine.depth(DepthRequest(image=png()))).notice
