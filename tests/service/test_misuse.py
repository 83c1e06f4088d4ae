"""What anybody can send costs others nothing: no error in the log, no work for nobody, no lost answer."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from service.kserve import http, servicer
from service.rest import app
from service.rpc.calls import OPEN_SERVICES
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.e2e.process import ROOT
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, http_server, make_frontend
from tests.service.test_connections import (
    GET,
    HELLO,
    PHOTO,
    POST,
    UPGRADE,
    call,
    frame,
    grpc_port,
    h2,
    message,
)

ONE = POST + b"content-length: 3\r\n\r\none"
LARGE = 4_000_000


@pytest.fixture(autouse=True)
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Nothing at all is logged as an error, or as a warning."""
    caplog.set_level("INFO")
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: logging.getLogger("asyncio").error("%s", context)
    )
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


async def send(port: int, data: bytes, *, reset_after_s: float | None = None) -> bytes:
    """Send; return what comes back until the server hangs up, or reset the connection after a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if reset_after_s is None:
        async with asyncio.timeout(25):  # a WebSocket that does not close is waited for, 10 s
            answer = await reader.read()
        writer.close()
        return answer
    await asyncio.sleep(reset_after_s)
    client = writer.get_extra_info("socket")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await asyncio.sleep(0.1)
    return b""


async def test_requests_of_a_client_that_hung_up_are_not_begun() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with http_server(make_frontend(engine)) as port:
        await send(port, ONE * 5, reset_after_s=0.2)
        await engine.until_in_flight(0)
        engine.gate.set()
        assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "bad", [b"NO HTTP\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 70_000, b"\0" * 99]
)
async def test_a_bad_second_request_does_not_cost_the_first_its_answer(bad: bytes) -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with http_server(make_frontend(engine, head_timeout_s=0.5)) as port:
        sending = asyncio.ensure_future(send(port, ONE + bad))
        await engine.until_in_flight(1)
        engine.gate.set()
        answers = await sending
    assert b"one|png16|input" in answers
    assert answers.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 4" in answers.partition(b"one|png16|input")[2]


STRANGE = {
    "no http": b"\x16\x03\x01hello\r\n\r\n",
    "another upgrade": GET[:-2] + b"connection: upgrade, close\r\nupgrade: h2c\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "a chunk without a size": POST + b"transfer-encoding: chunked\r\n\r\nz\r\n",
    "a stream without a key": UPGRADE + b"\r\n",
    "a stream of another version": UPGRADE.replace(b"version: 13", b"version: 7")
    + b"x-api-key: right\r\n\r\n",
    "a stream of broken text": UPGRADE + b"x-api-key: right\r\n\r\n" + frame(b"\xff\xfe", 0x81),
    "a stream of text": UPGRADE + b"x-api-key: right\r\n\r\n" + frame(b"hello", 0x81),
    "a stream of broken frames": UPGRADE + b"x-api-key: right\r\n\r\n\xff\xff\xff\xff",
    "a stream of unmasked frames": UPGRADE + b"x-api-key: right\r\n\r\n\x82\x01x",
    "a stream of too large a frame": UPGRADE + b"x-api-key: right\r\n\r\n\x82\xff\x7f" + b"\xff" * 11,
}


@pytest.mark.parametrize("name", STRANGE)
async def test_what_no_client_would_send_over_http_is_not_an_error(name: str) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    frontend = make_frontend(EchoEngine(), keyring, keep_alive_s=0.3, head_timeout_s=0.3)
    async with http_server(frontend) as port:
        assert await send(port, STRANGE[name])
        await send(port, STRANGE[name], reset_after_s=0.0)


async def test_clients_that_leave_before_or_within_their_answer_are_not_errors() -> None:
    async with http_server(make_frontend(EchoEngine())) as port:
        large = POST + b"content-length: %d\r\n\r\n" % LARGE + bytes(LARGE)
        stream = UPGRADE + b"\r\n" + frame(bytes(LARGE)) * 2
        for data in (large, large * 2, stream, POST + b"content-length: 9\r\n\r\nx"):
            for delay_s in (0.0, 0.02, 0.2):
                await send(port, data, reset_after_s=delay_s)


RPC = {
    "no protobuf": HELLO + call("/depth.v1.Depth/Predict") + message(b"\xff\xff\xff", 1),
    "no message": HELLO + call("/depth.v1.Depth/Predict") + h2(0, 1, 1),
    "no protobuf in a stream": HELLO + call("/depth.v1.Depth/Stream") + message(b"\xff\xff\xff", 1),
    "no protobuf for KServe": HELLO
    + call("/inference.GRPCInferenceService/ModelInfer")
    + message(b"\xff", 1),
    "no protobuf for health": HELLO + call("/grpc.health.v1.Health/Check") + message(b"\xff\xff", 1),
    "a list of what is healthy": HELLO + call("/grpc.health.v1.Health/List") + message(b"", 1),
    "an unknown service": HELLO + call("/grpc.health.v1.Health/Check") + message(b"\x0a\x01x", 1),
    "an unknown method": HELLO + call("/depth.v1.Depth/Guess") + message(b"", 1),
    "no call": HELLO + h2(1, 4, 1, b"\xff\xff\xff"),
    "a wrong key": HELLO + call("/depth.v1.Depth/Predict", b"wrong") + message(PHOTO, 1),
    "a photograph": HELLO + call("/depth.v1.Depth/Predict") + message(PHOTO, 1),
}


@pytest.mark.parametrize("name", RPC)
async def test_what_no_client_would_send_over_grpc_is_not_an_error(name: str) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    frontend = make_frontend(EchoEngine(), keyring)
    async with grpc_port(frontend) as port:
        for delay_s in (0.0, 0.05, 0.3):
            await send(port, RPC[name], reset_after_s=delay_s)
    assert frontend.budget.held_bytes == frontend.answers.held_bytes == 0


async def test_calls_that_are_cancelled_within_their_answer_are_not_errors() -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel:
        stub = DepthStub(channel)
        for delay_s in (0.0, 0.001, 0.003, 0.01, 0.03):
            sending = stub.Predict(pb.PredictRequest(image=bytes(2_000_000)))
            await asyncio.sleep(delay_s)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending


def test_every_path_that_is_open_without_a_key_is_in_the_documents() -> None:
    page = (ROOT / "docs" / "production.md").read_text()
    listed = page.partition("Open without a key")[2].partition("\n- ")[0]
    http_paths = (*app.OPEN_PATHS, *http.OPEN_PATHS)
    methods = [method.strip("/").rpartition("/") for method in (*OPEN_SERVICES, *servicer.OPEN_METHODS)]
    names = [
        last if "Inference" in service else (service or last).rpartition(".")[2]
        for service, _, last in methods
    ]
    missing = [path for path in http_paths if f"`{path}`" not in listed and f"`{path}/...`" not in listed]
    assert missing + [name for name in names if name not in listed] == []
