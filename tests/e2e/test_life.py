"""How a process begins and ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import grpc
import httpx
import pytest
from websockets.asyncio.client import connect

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from tests.e2e.process import ROOT, SERVE, Process, running

PHOTO = b"photo" * 20_000


def test_it_says_which_ports_it_chose_and_that_it_is_ready(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    with running(DEPTH_READY_FILE=ready_file) as process:
        told = process.until("ready")
        assert told["http_port"] == process.http_port > 0
        assert told["grpc_port"] == process.grpc_port > 0
        written = json.loads(ready_file.read_text())
        assert written == {
            "pid": process.pid,
            "http_port": told["http_port"],
            "grpc_port": told["grpc_port"],
        }
        assert httpx.get(f"{process.url}/readyz").status_code == 200
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not ready_file.exists()


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_do_not_hold_up_the_end(what: signal.Signals) -> None:
    with (
        running(DEPTH_LINGER_S=0) as process,
        httpx.Client(base_url=process.url) as client,
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
        socket.create_connection(("127.0.0.1", process.http_port)),
    ):
        assert client.post("/v1/depth", content=b"photo").status_code == 200
        DepthStub(channel).Predict(pb.PredictRequest(image=b"photo"))
        process.send(what)
        started_at = time.monotonic()
        assert process.wait(5) == 0
        assert time.monotonic() - started_at < 2


async def test_what_was_taken_is_answered_before_the_end() -> None:
    with running(ECHO_DELAY_S=1.0) as process:
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=10) as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
            connect(f"ws://127.0.0.1:{process.http_port}/v1/stream") as socket_,
        ):
            over_http = asyncio.ensure_future(client.post("/v1/depth", content=PHOTO))
            over_grpc = asyncio.ensure_future(DepthStub(channel).Predict(pb.PredictRequest(image=PHOTO)))
            stream = DepthStub(channel).Stream()
            await stream.write(pb.StreamRequest(config=pb.StreamConfig()))
            await stream.write(pb.StreamRequest(frame=pb.Frame(id=7, image=PHOTO)))
            await socket_.send(PHOTO)
            await asyncio.sleep(0.3)
            process.send(signal.SIGTERM)
            assert (await over_http).content == PHOTO + b"|png16|input"
            assert (await over_grpc).data == PHOTO + b"|png16|input"
            assert (await stream.read()).frame_id == 7
            assert json.loads(await socket_.recv())["frame"] == 0
            assert await socket_.recv() == PHOTO + b"|png16|input"
            assert process.until("closed")["unanswered"] == 0
        assert process.wait() == 0


async def test_readiness_falls_first_while_requests_are_still_taken() -> None:
    with running(DEPTH_LINGER_S=1.0) as process:
        async with httpx.AsyncClient(base_url=process.url) as client:
            process.send(signal.SIGTERM)
            process.until("closing")
            not_ready = await client.get("/readyz")
            assert (not_ready.status_code, not_ready.headers["connection"]) == (503, "close")
            assert (await client.get("/livez")).status_code == 200
            answer = await client.post("/v1/depth", content=b"photo")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert process.wait() == 0


async def test_the_end_under_load_loses_nothing() -> None:
    """Every request is either answered whole, or was refused before the server had it."""
    outcomes: Counter[str] = Counter()
    with running(ECHO_DELAY_S=0.02) as process:
        ends_at = time.monotonic() + 10

        async def ask_over_http() -> None:
            async with httpx.AsyncClient(base_url=process.url, timeout=10) as client:
                while time.monotonic() < ends_at:
                    try:
                        answer = await client.post("/v1/depth", content=PHOTO)
                    except httpx.ConnectError:
                        outcomes["http refused"] += 1
                        return
                    assert (answer.status_code, len(answer.content)) == (200, len(PHOTO) + 12)
                    outcomes["http answered"] += 1

        async def ask_over_grpc() -> None:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
                while time.monotonic() < ends_at:
                    call = DepthStub(channel).Predict(pb.PredictRequest(image=PHOTO), timeout=10)
                    if await call.code() is not grpc.StatusCode.OK:
                        outcomes[f"grpc {(await call.code()).name}"] += 1
                        return
                    assert len((await call).data) == len(PHOTO) + 12
                    outcomes["grpc answered"] += 1

        asking = [asyncio.ensure_future(ask()) for ask in [ask_over_http, ask_over_grpc] * 8]
        await asyncio.sleep(1.0)
        process.send(signal.SIGTERM)
        await asyncio.gather(*asking)
        assert process.wait() == 0
        assert process.until("closed")["unanswered"] == 0
        said = Counter(line["message"] for line in process.lines)
    # What the server has answered, its clients have got.
    assert outcomes["http answered"] == said["POST /v1/depth 200"] > 10
    assert outcomes["grpc answered"] == said["Predict OK"] > 10
    assert outcomes["http refused"] == 8
    # grpc cancels the calls that reach it in the instant in which it stops; those were not begun either.
    assert outcomes["grpc UNAVAILABLE"] + outcomes["grpc CANCELLED"] == 8


async def test_a_second_signal_cuts_the_end_short() -> None:
    with running() as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
            asking = asyncio.ensure_future(client.post("/v1/depth?model=slow", content=b"photo"))
            await asyncio.sleep(0.3)
            process.send(signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert not asking.done()
            process.send(signal.SIGTERM)
            started_at = time.monotonic()
            assert await asyncio.to_thread(process.wait, 10) == 128 + signal.SIGTERM
            assert time.monotonic() - started_at < 3
            with contextlib.suppress(httpx.TransportError):
                assert (await asking).status_code == 503


async def test_the_end_waits_no_longer_than_it_may() -> None:
    with running(DEPTH_DRAIN_TIMEOUT_S=1, DEPTH_LINGER_S=0) as process:
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=60) as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
        ):
            slow = pb.PredictRequest(image=b"photo", options=pb.Options(model="slow"))
            asking = [
                asyncio.ensure_future(client.post("/v1/depth?model=slow", content=b"photo")),
                asyncio.ensure_future(DepthStub(channel).Predict(slow)),
            ]
            await asyncio.sleep(0.3)
            process.send(signal.SIGTERM)
            started_at = time.monotonic()
            assert await asyncio.to_thread(process.wait, 10) == 0
            assert time.monotonic() - started_at < 6
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert not any(getattr(answer, "status_code", 500) == 200 for answer in answers)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name in ("DEPTH_HTTP_PORT", "DEPTH_GRPC_PORT"):
            process = Process(SERVE, {name: port, "DEPTH_BACKEND": "simulated"})
            try:
                assert process.wait() == 1
                assert "cannot start" in process.text
            finally:
                process.kill()


def test_a_setting_that_cannot_be_read_is_named_without_its_value() -> None:
    process = Process(SERVE, {"DEPTH_HTTP_PORT": "s3cret"})
    try:
        assert process.wait() == 2
        assert "DEPTH_HTTP_PORT" in process.text
        assert "s3cret" not in process.text
    finally:
        process.kill()


def test_a_setting_that_does_not_exist_is_pointed_at() -> None:
    process = Process(SERVE, {"DEPTH_HTPT_PORT": "s3cret", "DEPTH_API_KEYS": str(ROOT / "pyproject.toml")})
    try:
        assert process.wait() == 1
        assert "DEPTH_HTPT_PORT is set, but there is no such setting" in process.text
        assert "pyproject.toml, line 1" in process.text
        assert "s3cret" not in process.text
    finally:
        process.kill()


def test_a_key_can_be_made_on_the_command_line(tmp_path: Path) -> None:
    made = subprocess.run(
        [*SERVE, "--new-key", "ann", "--rate", "0.001", "--burst", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    ).stdout.split()
    key = next(word for word in made if word.startswith("depth_"))
    file = tmp_path / "keys"
    file.write_text(" ".join(made[-4:]) + "\n")
    with running(DEPTH_API_KEYS=file) as process:
        for sent, status in (({}, 401), ({"x-api-key": key}, 200), ({"x-api-key": key}, 429)):
            assert httpx.post(f"{process.url}/v1/depth", content=b"photo", headers=sent).status_code == status
    assert key not in process.text
