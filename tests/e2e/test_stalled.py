"""Clients that stop listening, on both transports: they are cut off, and what they held is free again."""

import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from PIL import Image

from tests.e2e.process import ROOT, SERVE, Process, running
from tests.service.checkpoints import write_checkpoint

pytestmark = pytest.mark.timeout(300)

STALLED_S = 1.0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors")
    chosen = {
        "DEPTH_MODELS": folder,
        "DEPTH_BACKEND": "simulated",
        "DEPTH_STALLED_PEER_S": STALLED_S,
        "DEPTH_LEAST_BYTES_PER_S": 4_000_000,
        "DEPTH_STREAM_IDLE_TIMEOUT_S": 600,
    }
    with running(SERVE, **chosen) as running_process:
        yield running_process


def wide_picture() -> bytes:
    """A small file whose depth in float32 is more than the buffers of a connection hold: 48 MB."""
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000), (90, 31, 90)).save(file, "PNG")
    return file.getvalue()


def until(holds: Callable[[], bool], within_s: float) -> None:
    ends_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def figure(process: Process, name: str) -> float:
    lines = httpx.get(f"{process.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_an_answer_that_nobody_takes_does_not_stay(process: Process) -> None:
    body = wide_picture()
    head = b"POST /v1/depth?format=float32 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", process.http_port))
        client.sendall(head + body)
        port = client.getsockname()[1]

        def connected() -> bool:
            links = psutil.Process(process.pid).net_connections("tcp")
            return any(link.raddr and link.raddr.port == port for link in links)

        assert client.recv(12) == b"HTTP/1.1 200"
        assert connected()
        until(lambda: not connected(), within_s=60)
        assert figure(process, "depth_in_flight") == figure(process, "depth_held_body_bytes") == 0


def test_memory_of_large_requests_comes_back(process: Process) -> None:
    def resident() -> int:
        return psutil.Process(process.pid).memory_info().rss

    body, before = wide_picture(), resident()

    def ask() -> int:
        return len(httpx.post(f"{process.url}/v1/depth?format=float32", content=body, timeout=120).content)

    with ThreadPoolExecutor(4) as clients:
        assert [each.result() for each in [clients.submit(ask) for _ in range(8)]] == 8 * [48_000_000]
    until(lambda: resident() < before + 100 * 2**20, within_s=60)


STREAM = """
import sys, time
import grpc
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

def frames():
    yield pb.StreamRequest(config=pb.StreamConfig())
    yield pb.StreamRequest(frame=pb.Frame(id=1, image=bytes.fromhex(sys.argv[2])))
    time.sleep(600)

with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
    for answer in DepthStub(channel).Stream(frames()):
        print(answer.frame_id, flush=True)
"""


def test_a_stream_whose_client_hangs_gives_its_place_back(process: Process) -> None:
    """Its machine still holds the connection, but nobody there answers a ping."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    command = [sys.executable, "-c", STREAM, str(process.grpc_port), file.getvalue().hex()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout.readline() == "1\n"
            assert figure(process, "depth_open_streams") == 1
            client.send_signal(signal.SIGSTOP)
            until(lambda: figure(process, "depth_open_streams") == 0, within_s=45)
        finally:
            client.kill()


UNREAD = """
import sys, time
import grpc
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

def frames():
    yield pb.StreamRequest(config=pb.StreamConfig(options=pb.Options(format=pb.FORMAT_FLOAT32)))
    while True:
        yield pb.StreamRequest(frame=pb.Frame(id=1, image=bytes.fromhex(sys.argv[2])))
        time.sleep(0.05)

with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}", [("grpc.max_receive_message_length", -1)]) as channel:
    answers = DepthStub(channel).Stream(frames())
    print(next(answers).frame_id, flush=True)
    sys.stdin.readline()
    try:
        for answer in answers:
            pass
    except grpc.RpcError as error:
        print(error.code().name, error.details(), flush=True)
"""


def test_a_stream_whose_client_takes_no_answer_gives_its_place_back_and_says_why(process: Process) -> None:
    """Its library answers pings and goes on sending; only its program reads nothing more."""
    file = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(file, "PNG")
    command = [sys.executable, "-c", UNREAD, str(process.grpc_port), file.getvalue().hex()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as client:
        try:
            assert client.stdout.readline() == "1\n"
            assert figure(process, "depth_open_streams") == 1
            until(lambda: figure(process, "depth_open_streams") == 0, within_s=15)
            client.stdin.write("\n")
            client.stdin.flush()
            told = client.stdout.readline()
            assert re.fullmatch(
                r"DEADLINE_EXCEEDED an answer of 4\d{6} bytes was not taken within 2\S* s; .*\n", told
            )
        finally:
            client.kill()
