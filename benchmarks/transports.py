"""What each transport adds to a request: round trips and processor time over an engine that does nothing.

    python benchmarks/transports.py [--seconds 3] [--image-kb 100] [--answer-kb 500]

The server runs as a process of its own, with an engine that answers every image at once with the same bytes.
The clients are as thin as clients get (a bare socket for HTTP), so what is measured is the transport.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import uvloop

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from service.contract.answer import DepthAnswer  # noqa: E402
from service.contract.request import DepthRequest  # noqa: E402
from service.engine import Turn  # noqa: E402
from service.lifespan import serve  # noqa: E402
from service.rpc.pb import depth_pb2 as pb  # noqa: E402
from service.rpc.pb.depth_pb2_grpc import DepthStub  # noqa: E402
from service.settings import Settings  # noqa: E402
from service.telemetry.logs import configure_logging  # noqa: E402
from tests.service.echo import EchoEngine  # noqa: E402


class NoEngine(EchoEngine):
    """Responds at once, always the same."""

    answer = bytes(int(os.environ.get("ANSWER_BYTES", "0")))

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        """Do nothing."""
        return DepthAnswer(
            body=self.answer,
            media_type="image/png",
            format=request.format,
            height=375,
            width=1242,
            dtype=">u2",
            scale=1 / 256,
            unit="metre",
            scale_source="checkpoint",
            minimum=2.0,
            maximum=80.0,
            invalid="0",
            model="none",
            model_version="1",
            request_id=request.request_id,
            timings={"decode": 0.0, "queue": 0.0, "predict": 0.0, "encode": 0.0, "total": 0.0},
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way through a transport."""

    way: str
    lone_ms: float
    """Median round trip of a request that is alone."""
    lone_p99_ms: float
    per_second: float
    """With four clients at once."""
    server_ms: float
    """Processor time of the server for each of those."""


@contextmanager
def server(answer_bytes: int, log_level: str) -> Iterator[tuple[psutil.Process, int, int]]:
    """Run the server; yield its process and ports."""
    environment = {
        **os.environ,
        "DEPTH_HOST": "127.0.0.1",
        "DEPTH_HTTP_PORT": "0",
        "DEPTH_GRPC_PORT": "0",
        "DEPTH_LOG_LEVEL": log_level,
        "DEPTH_READY_FILE": f"/tmp/transports-{os.getpid()}.json",  # noqa: S108 - a benchmark's own
        "ANSWER_BYTES": str(answer_bytes),
    }
    path = Path(environment["DEPTH_READY_FILE"])
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], env=environment, stderr=subprocess.DEVNULL
    ) as process:
        while not path.exists():
            time.sleep(0.05)
        told = json.loads(path.read_text())
        yield psutil.Process(process.pid), told["http_port"], told["grpc_port"]
        process.terminate()


def http_client(port: int, image: bytes) -> Callable[[], None]:
    """Return what sends one request and reads its answer whole."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b"POST /v1/depth HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"
    request = head % len(image) + image
    buffer = bytearray(1 << 20)

    def ask() -> None:
        connection.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65_536)
        answer_head, _, body = got.partition(b"\r\n\r\n")
        length = int(answer_head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        left = length - len(body)
        while left > 0:
            left -= connection.recv_into(buffer, min(left, len(buffer)))

    return ask


def unary_client(port: int, image: bytes) -> Callable[[], None]:
    """Return what makes one unary call."""
    options = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    stub = DepthStub(grpc.insecure_channel(f"127.0.0.1:{port}", options=options))
    request = pb.PredictRequest(image=image)
    return lambda: stub.Predict(request)


def stream_client(port: int, image: bytes) -> Callable[[], None]:
    """Return what sends one frame and waits for its answer."""
    options = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    stub = DepthStub(grpc.insecure_channel(f"127.0.0.1:{port}", options=options))
    asked = threading.Semaphore(0)
    frame = pb.StreamRequest(frame=pb.Frame(id=1, image=image))

    def frames() -> Iterator[pb.StreamRequest]:
        yield pb.StreamRequest(config=pb.StreamConfig())
        while True:
            asked.acquire()
            yield frame

    answers = stub.Stream(frames())

    def ask() -> None:
        asked.release()
        next(answers)

    return ask


def measure(
    way: str, make: Callable[[], Callable[[], None]], process: psutil.Process, seconds: float
) -> Measured:
    """Measure one way through, alone and with four clients."""
    ask = make()
    for _ in range(50):
        ask()
    times = []
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        started_at = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started_at)
    clients = [make() for _ in range(4)]
    for client in clients:
        client()
    counts = [0] * len(clients)
    ends_at = time.perf_counter() + seconds

    def run(place: int) -> None:
        while time.perf_counter() < ends_at:
            clients[place]()
            counts[place] += 1

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(clients))]
    before = process.cpu_times()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return Measured(
        way=way,
        lone_ms=statistics.median(times) * 1e3,
        lone_p99_ms=statistics.quantiles(times, n=100)[98] * 1e3,
        per_second=sum(counts) / seconds,
        server_ms=used_s / sum(counts) * 1e3,
    )


def main() -> None:
    """Measure every transport and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--image-kb", type=int, default=100)
    parser.add_argument("--answer-kb", type=int, default=500)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        settings = Settings()
        configure_logging(settings.log_level)
        sys.exit(uvloop.run(serve(settings, NoEngine)))
    image = os.urandom(arguments.image_kb * 1000)
    with server(arguments.answer_kb * 1000, arguments.log_level) as (process, http_port, grpc_port):
        ways = {
            "HTTP POST": lambda: http_client(http_port, image),
            "gRPC unary": lambda: unary_client(grpc_port, image),
            "gRPC stream": lambda: stream_client(grpc_port, image),
        }
        print(f"{arguments.image_kb} kB in, {arguments.answer_kb} kB out, {os.cpu_count()} cores")
        print("| way | lone, median ms | lone, p99 ms | a second, 4 clients | server CPU ms each |")
        print("| --- | --- | --- | --- | --- |")
        for way, make in ways.items():
            got = measure(way, make, process, arguments.seconds)
            print(
                f"| {got.way} | {got.lone_ms:.2f} | {got.lone_p99_ms:.2f} |"
                f" {got.per_second:.0f} | {got.server_ms:.2f} |",
                flush=True,
            )
    os._exit(0)  # streams of the clients are still open; nothing is lost with them


if __name__ == "__main__":
    main()
