"""Every byte that a peer makes the service keep is in an account, on every transport, and comes back."""

import asyncio
import contextlib
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from service.contract.errors import ImageTooLarge, InvalidArgument, Overloaded
from service.contract.request import DepthRequest, FieldOfView, Format
from service.engine import Engine
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2 as kserve
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from service.telemetry.metrics import Metrics
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.e2e.process import ROOT
from tests.service.checkpoints import write_checkpoint
from tests.service.echo import EchoEngine
from tests.service.green import GreenFactory
from tests.service.opened import grpc_channel, http_server, make_frontend, settings
from tests.service.test_connections import POST, UPGRADE, frame

MB = 1_000_000


async def until(holds: object, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # type: ignore[operator]  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def at_rest(frontend: Frontend) -> None:
    await until(lambda: frontend.budget.held_bytes == frontend.answers.held_bytes == 0)


@asynccontextmanager
async def sender(port: int, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    writer.transport.set_write_buffer_limits(0)
    sending = asyncio.ensure_future(feed(writer, data))
    try:
        yield reader
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def feed(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def test_messages_of_websockets_are_counted_while_they_come() -> None:
    frontend = make_frontend(EchoEngine(), max_bodies_bytes=4 * MB)
    half = UPGRADE + b"\r\n" + frame(bytes(3 * MB))[:-9]
    async with http_server(frontend) as port, contextlib.AsyncExitStack() as open_:
        readers = [await open_.enter_async_context(sender(port, half)) for _ in range(6)]
        refused = [asyncio.ensure_future(reader.readuntil(b"DEPTH_MAX_BODIES_BYTES")) for reader in readers]
        done, _ = await asyncio.wait(refused, timeout=3, return_when=asyncio.ALL_COMPLETED)
        assert len(done) == 6  # none may have half of the account for itself and the end of its message
        assert all(struct.pack("!H", 1013) in each.result() for each in done)
        await at_rest(frontend)


async def test_no_sum_of_websockets_holds_more_than_the_account() -> None:
    frontend = make_frontend(EchoEngine(), max_bodies_bytes=4 * MB)
    most = 0
    half = UPGRADE + b"\r\n" + frame(bytes(MB))[:-9]
    async with http_server(frontend) as port, contextlib.AsyncExitStack() as open_:
        for _ in range(8):
            await open_.enter_async_context(sender(port, half))
        for _ in range(50):
            await asyncio.sleep(0.02)
            most = max(most, frontend.budget.held_bytes)
        assert 2 * MB < most <= 4 * MB
    await at_rest(frontend)


async def test_pieces_of_a_message_cost_what_they_take_in_memory() -> None:
    frontend = make_frontend(EchoEngine(), max_bodies_bytes=MB)
    pieces = UPGRADE + b"\r\n" + frame(b"", 0x02) + frame(b"", 0x00) * 20_000
    async with http_server(frontend) as port, sender(port, pieces) as reader:
        assert b"DEPTH_MAX_BODIES_BYTES" in await reader.read(4096) + await reader.read(4096)


async def test_depth_that_a_websocket_does_not_read_is_counted() -> None:
    frontend = make_frontend(EchoEngine(), max_answers_bytes=40 * MB, max_bodies_bytes=400 * MB)
    frames = UPGRADE + b"\r\n" + frame(bytes(8 * MB)) * 6
    async with http_server(frontend) as port:
        async with sender(port, frames):
            await until(lambda: frontend.answers.held_bytes > 15 * MB)
            await asyncio.sleep(0.3)
            assert frontend.answers.held_bytes <= 20 * MB
            async with httpx.AsyncClient() as client:  # and another is not harmed
                url = f"http://127.0.0.1:{port}/v1/depth"
                assert (await client.post(url, content=bytes(5 * MB))).status_code == 200
        await at_rest(frontend)


async def test_depth_that_a_grpc_stream_does_not_read_is_counted() -> None:
    frontend = make_frontend(EchoEngine(), max_answers_bytes=40 * MB, max_bodies_bytes=400 * MB)
    options = [("grpc.max_receive_message_length", -1), ("grpc.http2.lookahead_bytes", 65_536)]
    async with grpc_channel(frontend, options=options) as channel:

        async def messages() -> AsyncIterator[pb.StreamRequest]:
            yield pb.StreamRequest(config=pb.StreamConfig())
            for number in range(8):
                yield pb.StreamRequest(frame=pb.Frame(id=number, image=bytes(8 * MB)))

        call = DepthStub(channel).Stream(messages())
        await until(lambda: frontend.answers.held_bytes > 15 * MB)
        await asyncio.sleep(0.3)
        assert frontend.answers.held_bytes <= 20 * MB
        call.cancel()
        await at_rest(frontend)


async def test_whatever_a_grpc_message_holds_is_counted() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine, max_bodies_bytes=8 * MB)
    typed = kserve.ModelInferRequest(model_name="echo")
    tensor = typed.inputs.add(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(bytes(MB))
    strange = pb.PredictRequest(image=b"x")
    strange.MergeFromString(b"\x9a\x06\xc0\x84\x3d" + bytes(MB))  # a field that nobody knows
    async with grpc_channel(frontend) as channel:
        calls = [
            GRPCInferenceServiceStub(channel).ModelInfer(typed),
            DepthStub(channel).Predict(strange),
        ]
        await engine.until_in_flight(2)
        assert frontend.budget.held_bytes >= 2 * MB
        engine.gate.set()
        await asyncio.gather(*calls, return_exceptions=True)
        await at_rest(frontend)


async def test_what_comes_last_in_an_http_message_is_bounded() -> None:
    async with http_server(make_frontend(EchoEngine())) as port:
        trailers = POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"a: b\r\n" * 200_000
        one = POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: " + b"b" * 2_000_000
        extension = POST + b"transfer-encoding: chunked\r\n\r\n1;" + b"b" * 2_000_000
        for data, status in ((trailers, b"431"), (one, b"431"), (extension, b"400")):
            async with sender(port, data) as reader, asyncio.timeout(10):
                assert (await reader.readuntil(b"\r\n"))[9:12] == status


async def test_one_slow_reader_does_not_make_others_fail() -> None:
    frontend = make_frontend(EchoEngine(), max_answers_bytes=40 * MB, max_bodies_bytes=400 * MB)
    slow = POST + b"content-length: %d\r\n\r\n" % (18 * MB) + bytes(18 * MB)
    async with http_server(frontend) as port, sender(port, slow):
        await until(lambda: frontend.answers.held_bytes > 0)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(18):
                assert (await client.post("/v1/depth", content=bytes(MB))).status_code == 200
        assert frontend.answers.held_bytes > 10 * MB  # still there, and still bounded


# Decoded pixels


def header_of_png(width: int, height: int) -> bytes:
    """The beginning of a PNG, behind which no pixel comes."""
    head = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + struct.pack(">II4s", zlib.crc32(head), 9999, b"IDAT")


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@asynccontextmanager
async def engine_of(
    folder: Path, factory: GreenFactory, **chosen: object
) -> AsyncIterator[tuple[Engine, Metrics]]:
    checkpoint = write_checkpoint(folder / "student.safetensors", metres_per_unit=1.0)
    metrics = Metrics(CollectorRegistry())
    wanted = settings(models=checkpoint, watch_interval_s=0.0, **chosen)
    async with Engine(wanted, metrics, opening=factory.open) as engine:
        await engine.wait_ready()
        yield engine, metrics


def held(metrics: Metrics) -> float:
    value = metrics.registry.get_sample_value("depth_held_pixel_bytes")
    assert value is not None
    return value


async def test_sizes_are_compared_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    lens = FieldOfView(horizontal_deg=80)
    async with engine_of(tmp_path, GreenFactory(), max_depth_pixels=2**24) as (engine, _):
        for format_, error in (
            (Format.JSON, InvalidArgument),
            (Format.PLY, InvalidArgument),
            (Format.NPY, ImageTooLarge),
        ):
            # A decoder would say that the image is cut short.
            with pytest.raises(error, match="5000x4000"):
                await engine.depth(DepthRequest(image=header_of_png(5000, 4000), format=format_, lens=lens))


MEASURED = """
import sys, resource
from service.codec import decode_image
from service.contract.errors import ImageTooLarge

def peak_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak_kb()
try:
    decode_image(bytes.fromhex(sys.argv[1]), height=64, width=96, max_pixels=2**25)
except ImageTooLarge:
    print(peak_kb() - before)
"""


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_what_claims_too_many_pixels_costs_nothing_to_refuse(form: str) -> None:
    """A header of 900 megapixels, or as many as the format can say."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, form)
    data = file.getvalue()
    if form == "PNG":
        data = header_of_png(30_000, 30_000) + data[33:]
    elif form == "JPEG":
        place = data.index(b"\xff\xc0") + 5
        data = data[:place] + struct.pack(">HH", 60_000, 60_000) + data[place + 4 :]
    else:
        place = data.index(b"\x9d\x01\x2a") + 3
        data = data[:place] + struct.pack("<HH", 16_383, 16_383) + data[place + 4 :]
    command = [sys.executable, "-c", MEASURED, data.hex()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50_000


async def test_pixels_beyond_the_account_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    async with engine_of(tmp_path, GreenFactory(), max_pixels_bytes=10 * MB) as (engine, metrics):
        with pytest.raises(Overloaded, match="DEPTH_MAX_PIXELS_BYTES is 10000000"):
            await engine.depth(DepthRequest(image=header_of_png(1000, 1000)))
        await engine.depth(DepthRequest(image=png(300, 200)))
        assert held(metrics) == 0


async def test_pixels_that_wait_for_a_device_are_counted(tmp_path: Path) -> None:
    factory = GreenFactory()
    async with engine_of(tmp_path, factory) as (engine, metrics):
        factory.gate.clear()
        wish = DepthRequest(image=png(900, 800), format=Format.PLY, lens=FieldOfView(horizontal_deg=80))
        waiting = [asyncio.ensure_future(engine.depth(wish)) for _ in range(8)]
        await until(lambda: held(metrics) >= 8 * 900 * 800 * 3)
        waiting[7].cancel()
        await until(lambda: held(metrics) < 8 * 900 * 800 * 3)
        factory.gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: held(metrics) == 0)


async def test_pixels_of_one_key_leave_room_for_those_of_another(tmp_path: Path) -> None:
    factory = GreenFactory()
    keyring = Keyring([ApiKey(name=name, digest=hash_key(name)) for name in ("ann", "bob")])
    async with engine_of(tmp_path, factory, max_pixels_bytes=4 * MB) as (engine, metrics):
        frontend = Frontend(engine, settings(), metrics, keyring=keyring)
        async with (
            http_server(frontend) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):

            async def begin(key: str) -> asyncio.Task[httpx.Response]:
                """Send a photograph whose pixels are kept; return once they are, or are refused."""
                before = held(metrics)
                query, headers = {"format": "ply", "fov_deg": "80"}, {"x-api-key": key}
                call = client.post("/v1/depth", content=png(300, 200), params=query, headers=headers)
                task = asyncio.create_task(call)
                await until(lambda: task.done() or before < held(metrics) < before + MB)
                return task

            factory.gate.clear()
            of_ann = [await begin("ann") for _ in range(12)]
            of_bob = [await begin("bob") for _ in range(2)]
            factory.gate.set()
            statuses = [(await each).status_code for each in of_ann]
            assert statuses == sorted(statuses)
            assert statuses[0] == 200
            assert statuses[-1] == 429
            assert [(await each).status_code for each in of_bob] == [200] * 2
        await until(lambda: held(metrics) == 0)
