import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service.contract.errors import InvalidImage, Overloaded
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend


@asynccontextmanager
async def stream(frontend: Frontend, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
    async with (
        http_server(frontend) as port,
        asyncio.timeout(30),
        connect(f"ws://127.0.0.1:{port}/v1/stream?{query}", **options) as socket,
    ):
        yield socket


async def refusal(frontend: Frontend, query: str = "", **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with stream(frontend, query, **options):
            pass
    response = refused.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


async def told(socket: ClientConnection) -> dict[str, Any]:
    text = await socket.recv()
    assert isinstance(text, str)
    return json.loads(text)


async def test_each_frame_is_answered_by_its_reading_and_its_map() -> None:
    async with stream(make_frontend(EchoEngine()), "format=npy&size=model") as socket:
        for number, image in enumerate((b"one", b"two")):
            await socket.send(image)
            reading = await told(socket)
            assert reading["frame"] == number
            assert (reading["scale"], reading["unit"], reading["invalid"]) == (1 / 256, "metre", "0")
            assert reading["timings_ms"]["predict"] == 3.0
            assert await socket.recv() == image + b"|npy|model"


async def test_a_stream_outlives_the_times_of_the_request_that_opened_it() -> None:
    short = {"head_timeout_s": 0.2, "body_timeout_s": 0.2, "keep_alive_s": 0.2, "stalled_peer_s": 0.2}
    async with stream(make_frontend(EchoEngine(), **short)) as socket:
        for _ in range(8):
            await socket.send(b"frame")
            assert "error" not in await told(socket)
            assert await socket.recv() == b"frame|png16|input"
            await asyncio.sleep(0.25)


async def test_a_stream_with_a_lens_says_the_intrinsics_of_each_map() -> None:
    async with stream(make_frontend(EchoEngine()), "fx_px=7&fy_px=8&cx_px=3&cy_px=2") as socket:
        await socket.send(b"one")
        assert (await told(socket))["intrinsics"] == {"fx_px": 7.0, "fy_px": 8.0, "cx_px": 3.0, "cy_px": 2.0}


async def test_a_frame_that_fails_is_told_and_harms_no_other() -> None:
    engine = EchoEngine()
    async with stream(make_frontend(engine)) as socket:
        engine.error = Overloaded("full", retry_after_s=0.5)
        await socket.send(b"one")
        assert (await told(socket))["error"] == {
            "code": "overloaded",
            "message": "full",
            "retry_after_ms": 500,
        }
        engine.error = RuntimeError("/secret")
        await socket.send(b"two")
        assert (await told(socket))["error"]["code"] == "internal"
        engine.error = None
        await socket.send(b"three")
        assert (await told(socket))["frame"] == 2
        assert await socket.recv() == b"three|png16|input"


async def test_a_client_that_says_end_has_its_answers_first() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with stream(make_frontend(engine)) as socket:
        await socket.send(b"one")
        await socket.send("end")
        await engine.until_in_flight(1)
        engine.gate.set()
        assert (await told(socket))["frame"] == 0
        assert await socket.recv() == b"one|png16|input"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_a_client_that_hangs_up_frees_its_places() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with stream(frontend) as socket:
        for _ in range(3):
            await socket.send(b"photo")
        await engine.until_in_flight(3)
        socket.transport.abort()
        await engine.until_in_flight(0)
    assert engine.cancelled == 3
    assert len(frontend.streams) == 0
    assert frontend.budget.held_bytes == 0


async def test_no_more_frames_are_in_flight_than_allowed() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with stream(make_frontend(engine, max_stream_frames=2)) as socket:
        for _ in range(6):
            await socket.send(b"photo")
        await engine.until_in_flight(2)
        await asyncio.sleep(0.05)
        assert engine.most_in_flight == 2
        engine.gate.set()
        for number in range(6):
            assert (await told(socket))["frame"] == number
            await socket.recv()
    assert engine.most_in_flight == 2


async def test_in_real_time_the_latest_frame_wins() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with stream(frontend, "mode=latest&max_in_flight=1") as socket, asyncio.timeout(30):
        frames = [b"%d" % number * 1000 * 2**number for number in range(5)]
        for frame in frames:
            await socket.send(frame)
        # Until only the first, which is being answered, and the last are held; the first is the smallest.
        while frontend.budget.held_bytes != len(frames[0]) + len(frames[4]):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        engine.gate.set()
        first, _, second, image = [await socket.recv() for _ in range(4)]
        assert json.loads(first)["frame"] == 0
        assert (json.loads(second)["frame"], json.loads(second)["skipped"]) == (4, 3)
        assert image == frames[4] + b"|png16|input"


async def test_clients_of_the_last_release_find_the_factor_that_they_read() -> None:
    async with stream(make_frontend(EchoEngine()), "scale_smoothing=0.0") as socket:
        await socket.send(b"one")
        assert (await told(socket))["smoothing_factor"] == 1.0


async def test_a_pose_before_a_frame_is_that_frame_s_alone() -> None:
    engine = EchoEngine()
    numbers = [1, 0, 0, 4.5, 0, 1, 0, 0, 0, 0, 1, 0]
    async with stream(make_frontend(engine)) as socket:
        await socket.send(json.dumps({"pose": numbers, "points": [[1, 2]]}))
        for body in (b"one", b"two"):
            await socket.send(body)
        for _ in range(3):  # the first is answered with distances, which are in its description
            await socket.recv()
    assert [turn.pose and list(turn.pose.numbers) for turn in engine.turns] == [numbers, None]
    assert [request.map for request in engine.requests] == [False, True]


@pytest.mark.parametrize(
    "query",
    [
        "format=bmp",
        "mode=best",
        "steadiness=1.1",
        "steadiness=nan",
        "scale_smoothing=0.8",
        "max_in_flight=-1",
        "frame_timeout_ms=0",
        "format=ply&rectify=no",
        "fromat=png16",
    ],
)
async def test_a_stream_that_makes_no_sense_is_refused_before_it_opens(query: str) -> None:
    assert await refusal(make_frontend(EchoEngine()), query) == (400, "invalid_argument")


async def test_a_text_message_that_is_not_the_end_is_a_mistake() -> None:
    async with stream(make_frontend(EchoEngine())) as socket:
        await socket.send("hello")
        assert (await told(socket))["error"]["code"] == "invalid_argument"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003


async def test_a_key_is_taken_from_headers_or_as_browsers_can_send_it() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])

    def frontend() -> Frontend:
        return make_frontend(EchoEngine(), keyring)

    assert await refusal(frontend()) == (401, "unauthenticated")
    assert await refusal(frontend(), subprotocols=["depth.v1", "key.wrong"]) == (401, "unauthenticated")
    async with stream(frontend(), additional_headers={"x-api-key": "right"}) as socket:
        await socket.send(b"one")
        assert (await told(socket))["frame"] == 0
    async with stream(frontend(), subprotocols=["depth.v1", "key.right"]) as socket:
        assert socket.subprotocol == "depth.v1"
        await socket.send(b"one")
        assert (await told(socket))["frame"] == 0


async def test_a_frame_over_the_key_s_rate_is_told_when_to_come_again() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"), images_per_s=0.1, burst=1.0)])
    async with stream(
        make_frontend(EchoEngine(), keyring), additional_headers={"x-api-key": "right"}
    ) as socket:
        await socket.send(b"one")
        await told(socket)
        await socket.recv()
        await socket.send(b"two")
        error = (await told(socket))["error"]
        assert error["code"] == "rate_limited"
        assert 9000 < error["retry_after_ms"] <= 10_000


async def test_no_more_streams_are_open_than_allowed_and_figures_say_how_many() -> None:
    frontend = make_frontend(EchoEngine(), max_streams=1)
    async with http_server(frontend) as port, connect(f"ws://127.0.0.1:{port}/v1/stream") as first:
        assert frontend.metrics.registry.get_sample_value("depth_open_streams") == 1
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/v1/stream")
        assert refused.value.response.status_code == 429
        await first.close()
        async with connect(f"ws://127.0.0.1:{port}/v1/stream") as second:
            await second.send(b"one")
            assert (await told(second))["frame"] == 0


async def test_a_frame_beyond_the_bound_ends_the_stream_unread() -> None:
    engine = EchoEngine()
    async with stream(make_frontend(engine, max_body_bytes=1000)) as socket:
        await socket.send(b"x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert engine.requests == []


async def test_a_stream_that_brings_nothing_is_closed() -> None:
    async with stream(make_frontend(EchoEngine(), stream_idle_timeout_s=0.05)) as socket:
        assert (await told(socket))["error"]["code"] == "deadline_exceeded"
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_closing_service_answers_the_frames_that_it_took() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with stream(frontend) as socket:
        await socket.send(b"one")
        await engine.until_in_flight(1)
        draining = asyncio.ensure_future(frontend.streams.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        engine.gate.set()
        assert (await told(socket))["frame"] == 0
        assert await socket.recv() == b"one|png16|input"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        await draining
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_a_bad_frame_is_the_frame_s_error_not_the_stream_s() -> None:
    engine = EchoEngine()
    engine.error = InvalidImage("not an image")
    async with stream(make_frontend(engine)) as socket:
        for number in range(3):
            await socket.send(b"junk")
            reading = await told(socket)
            assert (reading["frame"], reading["error"]["code"]) == (number, "invalid_image")


async def test_a_client_who_leaves_when_only_the_close_is_left_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stream(make_frontend(EchoEngine()), "format=npy", max_size=None) as socket:
        socket.transport.pause_reading()
        await socket.send(
            b"x" * 16_000_000
        )  # its answer is more than what sockets hold for who does not read
        await socket.send("end")
        await asyncio.sleep(0.5)
        socket.transport.abort()
    # The server has closed, which waits for all that it answers.
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
