import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from depth_client import (
    AsyncDepthClient,
    DeadlineExceeded,
    InvalidImage,
    NotReady,
    Overloaded,
    Retry,
    Unreachable,
)
from tests.depth_client.served import TRANSPORTS, RampEngine, Transport, depth_of, opened, run_with_service
from tests.depth_client.test_client import free_port

PHOTO = b"\x07photo"
FRAMES = [bytes([number]) for number in range(1, 21)]


@pytest.fixture(params=TRANSPORTS)
async def opened_service(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, RampEngine]]:
    async with opened(request.param) as service:
        yield service


@pytest.fixture
def engine(opened_service: tuple[str, RampEngine]) -> RampEngine:
    return opened_service[1]


@pytest.fixture
async def client(opened_service: tuple[str, RampEngine]) -> AsyncIterator[AsyncDepthClient]:
    async with AsyncDepthClient(opened_service[0]) as made:
        yield made


async def test_pictures_are_answered_together(client: AsyncDepthClient, engine: RampEngine) -> None:
    engine.gate.clear()
    asking = [asyncio.ensure_future(client.predict(frame)) for frame in FRAMES]
    await engine.until_in_flight(20)
    engine.gate.set()
    for frame, result in zip(FRAMES, await asyncio.gather(*asking), strict=True):
        np.testing.assert_array_equal(result.depth, depth_of(frame))
        assert result.unit == "metre"


async def test_models_files_and_readiness_are_answered_too(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    assert [model.name for model in await client.models()] == ["echo"]
    assert (await client.encode(PHOTO, "npy")).body.startswith(b"\x93NUMPY")
    assert await client.is_ready()


async def test_who_stops_waiting_lets_the_service_stop_too(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    engine.gate.clear()
    asking = asyncio.ensure_future(client.predict(PHOTO))
    await engine.until_in_flight(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await engine.until_in_flight(0)
    assert engine.cancelled == 1


async def test_a_call_ends_at_its_deadline_and_says_its_id(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    engine.gate.clear()
    with pytest.raises(DeadlineExceeded) as raised:
        await client.predict(PHOTO, timeout_s=0.3, request_id="late")
    assert raised.value.request_id == "late"


async def test_what_was_refused_for_now_is_asked_again_and_nothing_else(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    engine.errors = [NotReady("loading")]
    np.testing.assert_array_equal((await client.predict(PHOTO)).depth, depth_of(PHOTO))
    assert len(engine.requests) == 2
    engine.errors = [InvalidImage("no"), Overloaded("full", retry_after_s=60)]
    for kind in (InvalidImage, Overloaded):
        with pytest.raises(kind):
            await client.predict(PHOTO, timeout_s=5)
    assert len(engine.requests) == 4


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_where_nobody_listens_it_says_so(transport: Transport) -> None:
    address = f"{transport}://127.0.0.1:{free_port()}"
    async with AsyncDepthClient(address, retry=Retry(attempts=2, first_delay_s=0.01)) as client:
        with pytest.raises(Unreachable):
            await client.predict(PHOTO)
        with pytest.raises(Unreachable):
            await anext(client.stream(FRAMES))
        assert not await client.is_ready()


async def test_frames_stream_in_order_from_any_kind_of_source(client: AsyncDepthClient) -> None:
    async def camera() -> AsyncIterator[bytes]:
        for frame in FRAMES:
            yield frame

    for source in (FRAMES, iter(FRAMES), camera()):
        results = [result async for result in client.stream(source)]
        assert [result.frame for result in results] == FRAMES
        for result in results:
            np.testing.assert_array_equal(result.unwrap().depth, depth_of(result.frame))


async def test_no_more_frames_are_on_their_way_than_there_may_be(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    assert len([result async for result in client.stream(FRAMES, in_flight=2)]) == 20
    assert engine.most_in_flight <= 2


async def test_where_only_the_latest_counts_older_frames_are_never_sent(
    client: AsyncDepthClient, engine: RampEngine
) -> None:
    all_given = asyncio.Event()

    async def camera() -> AsyncIterator[bytes]:
        yield FRAMES[0]
        await engine.until_in_flight(1)
        for frame in FRAMES[1:]:
            yield frame
        all_given.set()

    engine.gate.clear()
    results = client.stream(camera(), latest=True, in_flight=1)
    first = asyncio.ensure_future(anext(results))
    await all_given.wait()
    engine.gate.set()
    assert (await first).frame == FRAMES[0]
    (last,) = [result async for result in results]
    assert (last.frame, last.skipped) == (FRAMES[-1], 18)
    assert len(engine.requests) == 2


async def test_a_source_that_fails_is_heard_of_after_what_it_gave(client: AsyncDepthClient) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        for frame in FRAMES[:3]:
            yield frame
        raise OSError("the camera is gone")

    for latest in (False, True):
        results = client.stream(breaking(), latest=latest)
        while (await anext(results)).frame != FRAMES[2]:
            pass
        with pytest.raises(OSError, match="the camera is gone"):
            await anext(results)


async def test_leaving_early_lets_go_of_the_stream(client: AsyncDepthClient, engine: RampEngine) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield PHOTO

    results = client.stream(endless())
    assert (await anext(results)).index == 0
    await results.aclose()
    await engine.until_in_flight(0)
    assert (await client.predict(PHOTO)).minimum == 7.0


LEFT_OPEN = """
import asyncio, sys
from depth_client import AsyncDepthClient

async def main():
    global client, results
    client = AsyncDepthClient(sys.argv[1])
    results = client.stream([bytes([1])] * 100)
    assert (await anext(results)).index == 0

asyncio.run(main())
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_program_that_ends_in_the_midst_of_a_stream_ends_without_a_word(transport: Transport) -> None:
    done = run_with_service(transport, LEFT_OPEN)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
