import asyncio
import time

import grpc
import pytest

from service.contract.errors import InvalidImage, Overloaded
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, make_frontend

Call = grpc.aio.StreamStreamCall


def frame(number: int, image: bytes = b"photo") -> pb.StreamRequest:
    return pb.StreamRequest(frame=pb.Frame(id=number, image=image))


async def opened(channel: grpc.aio.Channel, **config: object) -> Call:
    call = DepthStub(channel).Stream()
    await call.write(pb.StreamRequest(config=pb.StreamConfig(**config)))
    return call


async def ending(call: Call) -> grpc.StatusCode:
    """The code that the stream ends with, nothing more being answered."""
    try:
        assert await call.read() is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        return error.code()
    return await call.code()


async def test_frames_are_answered_in_order_under_the_numbers_that_they_were_sent_with() -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel, asyncio.timeout(30):
        call = await opened(channel, options=pb.Options(format=pb.FORMAT_NPY))
        for number in (7, 3, 3, 2**63):
            await call.write(frame(number, b"%d" % number))
        await call.done_writing()
        answers = [answer async for answer in call]
    assert [answer.frame_id for answer in answers] == [7, 3, 3, 2**63]
    assert [answer.depth.data for answer in answers] == [b"%d|npy|input" % n for n in (7, 3, 3, 2**63)]
    assert answers[0].depth.request_id.endswith("/7")


async def test_a_frame_brings_its_camera_s_pose() -> None:
    engine = EchoEngine()
    numbers = [1, 0, 0, 4.5, 0, 1, 0, 0, 0, 0, 1, 0]
    async with grpc_channel(make_frontend(engine)) as channel, asyncio.timeout(30):
        call = await opened(channel)
        for pose in (numbers, []):
            await call.write(pb.StreamRequest(frame=pb.Frame(id=1, image=b"one", pose=pose)))
            await call.read()
        await call.write(pb.StreamRequest(frame=pb.Frame(id=1, image=b"one", pose=numbers[:3])))
        assert await ending(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert [turn.pose and list(turn.pose.numbers) for turn in engine.turns] == [numbers, None]


async def test_a_frame_that_fails_is_told_and_harms_no_other() -> None:
    engine = EchoEngine()
    async with grpc_channel(make_frontend(engine)) as channel, asyncio.timeout(30):
        call = await opened(channel)
        for number, error in enumerate(
            (InvalidImage("no image"), Overloaded("full", retry_after_s=0.5), None)
        ):
            engine.error = error
            await call.write(frame(number))
            answer = await call.read()
            assert answer.frame_id == number
            if error is None:
                assert answer.depth.data == b"photo|png16|input"
            else:
                assert (answer.error.code, answer.error.message) == (error.code, str(error))
                assert answer.error.retry_after_ms == (500 if error.retry_after_s else 0)


async def test_no_more_frames_are_in_flight_than_allowed_and_the_sender_is_held_back() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    big = b"x" * 1_000_000
    frames = 200  # many times what sockets and HTTP/2 windows hold between them (8 to 20 of these)
    async with grpc_channel(make_frontend(engine, max_stream_frames=3)) as channel, asyncio.timeout(30):
        call = await opened(channel)

        async def send() -> None:
            for number in range(frames):
                await call.write(frame(number, big))

        sending = asyncio.ensure_future(send())
        await engine.until_in_flight(3)
        await asyncio.sleep(0.1)
        assert engine.most_in_flight == 3
        assert not sending.done()
        engine.gate.set()
        for number in range(frames):
            assert (await call.read()).frame_id == number
        await sending
    assert engine.most_in_flight <= 3


async def test_a_client_may_ask_for_fewer_frames_in_flight_but_not_for_more() -> None:
    for asked, had in ((1, 1), (100, 3), (0, 3)):
        engine = EchoEngine()
        engine.gate.clear()
        async with grpc_channel(make_frontend(engine, max_stream_frames=3)) as channel, asyncio.timeout(30):
            call = await opened(channel, max_in_flight=asked)
            for number in range(6):
                await call.write(frame(number))
            await engine.until_in_flight(had)
            await asyncio.sleep(0.05)
            assert engine.most_in_flight == had


async def test_in_real_time_the_latest_frame_wins() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with grpc_channel(frontend) as channel, asyncio.timeout(30):
        call = await opened(channel, mode=pb.MODE_LATEST_FRAME, max_in_flight=1)
        for number in range(5):
            await call.write(frame(number, bytes(1000 * 2**number)))
        # Until only the first, which is being answered, and the last are held; the first is the smallest.
        while not 17_000 <= frontend.budget.held_bytes < 18_000:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
        engine.gate.set()
        await call.done_writing()
        answers = [(answer.frame_id, answer.skipped) async for answer in call]
    assert answers == [(0, 0), (4, 3)]


async def test_a_cancelled_stream_frees_its_places() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with grpc_channel(frontend) as channel:
        call = await opened(channel)
        for number in range(3):
            await call.write(frame(number))
        await engine.until_in_flight(3)
        call.cancel()
        await engine.until_in_flight(0)
    assert engine.cancelled == 3
    assert len(frontend.streams) == 0
    assert frontend.budget.held_bytes == 0


@pytest.mark.parametrize(
    "config",
    [
        {"mode": 99},
        {"steadiness": 1.1},
        {"steadiness": -0.1},
        {"scale_smoothing": 0.8},
        {"options": pb.Options(format=99)},
        {"options": pb.Options(format=pb.FORMAT_PLY, rectify="no")},
    ],
)
async def test_a_stream_that_makes_no_sense_is_refused(config: dict[str, object]) -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel, asyncio.timeout(30):
        assert await ending(await opened(channel, **config)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_begins_with_its_config_and_has_one() -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel, asyncio.timeout(30):
        call = DepthStub(channel).Stream()
        await call.write(frame(0))
        assert await ending(call) is grpc.StatusCode.INVALID_ARGUMENT
        call = DepthStub(channel).Stream()
        await call.done_writing()
        assert await ending(call) is grpc.StatusCode.INVALID_ARGUMENT
        call = await opened(channel)
        await call.write(pb.StreamRequest(config=pb.StreamConfig()))
        assert await ending(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_frame_s_own_timeout_reaches_the_engine() -> None:
    engine = EchoEngine()
    async with grpc_channel(make_frontend(engine, request_timeout_s=20.0)) as channel, asyncio.timeout(30):
        call = await opened(channel, frame_timeout_ms=5000)
        sent_s = time.monotonic()
        await call.write(frame(0))
        await call.read()
    assert sent_s + 5 <= engine.requests[0].deadline_s <= time.monotonic() + 5


async def test_each_frame_counts_against_the_key_s_rate() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"), images_per_s=0.1, burst=2.0)])
    async with grpc_channel(make_frontend(EchoEngine(), keyring)) as channel, asyncio.timeout(30):
        call = DepthStub(channel).Stream(metadata=(("x-api-key", "right"),))
        await call.write(pb.StreamRequest(config=pb.StreamConfig()))
        for number in range(3):
            await call.write(frame(number))
        answers = [await call.read() for _ in range(3)]
    assert [answer.error.code for answer in answers] == ["", "", "rate_limited"]


async def test_no_more_streams_are_open_than_allowed() -> None:
    async with grpc_channel(make_frontend(EchoEngine(), max_streams=1)) as channel, asyncio.timeout(30):
        first = await opened(channel)
        await first.write(frame(0))
        await first.read()
        second = await opened(channel)
        assert await ending(second) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_closing_service_answers_the_frames_that_it_took_and_says_that_it_goes() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with grpc_channel(frontend) as channel, asyncio.timeout(30):
        call = await opened(channel)
        await call.write(frame(0))
        await engine.until_in_flight(1)
        draining = asyncio.ensure_future(frontend.streams.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        engine.gate.set()
        assert (await call.read()).depth.data == b"photo|png16|input"
        assert await ending(call) is grpc.StatusCode.UNAVAILABLE
        await draining
