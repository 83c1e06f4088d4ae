"""What the service promises, in one run: speed, the cost of each transport, overload, start and memory.

    python benchmarks/serving.py

The transports are measured against the same decode, predict and encode called in-process on all cores
(`benchmarks/pipeline.py`). Clients, the service and that pipeline are processes of their own; what is
compared takes turns, in rounds. Clients share the cores with the service, so their processor time is measured
and the pipeline is charged with it: its rate becomes 1 / (1 / rate + client seconds each / cores).
"""

import argparse
import datetime
import os
import platform
import shlex
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import grpc
import numpy as np

from benchmarks.decode import photograph
from benchmarks.load import CHANNEL_OPTIONS, Load, http_request, loaded
from benchmarks.machine import processor
from benchmarks.pipeline import PipelineProcess
from benchmarks.png16 import measure as measure_png16
from benchmarks.process import Serving, serving
from model.atomic import replacing
from service.backends import BackendOptions, open_backend
from service.backends.choose import cores
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

HEIGHT, WIDTH = 375, 1242
"""Of the photographs, as KITTI's."""
_CLIENTS = 8
_STREAMS = 2
_DEADLINE_S = 2.0
"""That the service is configured with for the overload."""
_BATCH = 4
_LONE_WAY = "one image, all cores"
_LONE = 8
"""Lone requests in a round of each way."""


@dataclass
class Figures:
    """Everything that was measured, as it comes."""

    networks_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Of an image, by engine and arrangement."""
    lone_s: dict[str, list[float]] = field(default_factory=dict)
    pipeline: dict[str, list[float]] = field(default_factory=dict)
    """Photographs a second, by arrangement."""
    transports: dict[str, list[Load]] = field(default_factory=dict)
    ready_s: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    overload_rate: float = 0.0
    overload: Load = field(default_factory=Load)

    @property
    def pipeline_rate(self) -> float:
        """Of the better arrangement, in the median of its rounds."""
        return max(statistics.median(rates) for rates in self.pipeline.values())

    def transport_rate(self, way: str) -> float:
        """In the median of the rounds."""
        return statistics.median(load.per_second for load in self.transports[way])

    def client_s(self, way: str) -> float:
        """Processor seconds that the client spent on each answer."""
        loads = self.transports[way]
        return sum(load.cpu_s for load in loads) / sum(len(load.statuses) for load in loads)

    def charged_rate(self, way: str) -> float:
        """The pipeline's rate, had it paid for this client as the transport did."""
        return 1 / (1 / self.pipeline_rate + self.client_s(way) / cores())

    def added_s(self, way: str) -> float:
        """What a transport adds to a lone request, at the median."""
        return statistics.median(self.lone_s[way]) - statistics.median(self.lone_s["pipeline"])


def measure_networks(figures: Figures, checkpoint: Path, cache_dir: Path, rounds: int) -> None:
    """Let torch's eager network and OpenVINO take turns in every arrangement; each is judged by its best."""
    import torch

    from model.predictor import Predictor

    predictor = Predictor.from_checkpoint(checkpoint)
    backend = open_backend("openvino", checkpoint, BackendOptions(threads=cores(), cache_dir=cache_dir))
    images = np.random.default_rng(0).integers(0, 256, (_BATCH, backend.height, backend.width, 3), np.uint8)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

    def eager(size: int) -> None:
        with torch.inference_mode():
            predictor.network(batch[:size])

    with ThreadPoolExecutor(cores()) as pool:

        def eager_each() -> None:
            list(pool.map(eager, [1] * cores()))

        # Threads of torch's own, images at once, and how that is done by either.
        ways = [
            (_LONE_WAY, cores(), 1, lambda: eager(1), lambda: backend.predict(images[:1])),
            (f"a batch of {_BATCH}", cores(), _BATCH, lambda: eager(_BATCH), lambda: backend.predict(images)),
            ("an image on each core", 1, cores(), eager_each, lambda: backend.predict(images[: cores()])),
        ]
        for taken in range(rounds + 1):
            if taken == 1:
                figures.networks_s.clear()  # the first round warms up
            for way, threads, size, run_eager, run_openvino in ways:
                torch.set_num_threads(threads)
                for engine, run in (("torch eager", run_eager), ("OpenVINO", run_openvino)):
                    seconds = _mean_s(run, max(1, _BATCH // size)) / size
                    figures.networks_s.setdefault((engine, way), []).append(seconds)


def _mean_s(run: Callable[[], object], count: int) -> float:
    began_s = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - began_s) / count


def lone_http(port: int, request: bytes) -> Callable[[], None]:
    """Return what makes one request over a bare socket."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(1 << 20)

    def ask() -> None:
        connection.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65_536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        left = length - len(body)
        while left > 0:
            left -= connection.recv_into(buffer, min(left, len(buffer)))

    return ask


def measure_lone(
    figures: Figures, served: Serving, pipeline: PipelineProcess, photographs: list[bytes], rounds: int
) -> None:
    """Let the pipeline and both transports take turns with requests that are alone."""
    stub = DepthStub(grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}", options=CHANNEL_OPTIONS))
    https = [lone_http(served.http_port, http_request(each)) for each in photographs]
    calls = [pb.PredictRequest(image=each) for each in photographs]
    ways: dict[str, Callable[[int], object]] = {
        "HTTP": lambda number: https[number](),
        "gRPC": lambda number: stub.Predict(calls[number]),
    }
    for taken in range(rounds + 1):
        if taken == 1:
            figures.lone_s.clear()  # the first round warms up
        figures.lone_s.setdefault("pipeline", []).extend(pipeline.lone(_LONE))
        for way, ask in ways.items():
            for number in range(_LONE):
                began_s = time.perf_counter()
                ask(number % len(photographs))
                figures.lone_s.setdefault(way, []).append(time.perf_counter() - began_s)


def measure_saturated(
    figures: Figures,
    served: Serving,
    pipeline: PipelineProcess,
    photographs: list[bytes],
    rounds: int,
    seconds: float,
) -> None:
    """Let the pipeline and both transports take turns with as much as they can take."""
    for _ in range(rounds):
        for arrangement in ("narrow", "wide"):
            rate = pipeline.saturated(seconds, arrangement).per_second
            figures.pipeline.setdefault(arrangement, []).append(rate)
        http = loaded("http", served.http_port, photographs, _CLIENTS, seconds)
        figures.transports.setdefault("HTTP", []).append(http)
        stream = loaded("stream", served.grpc_port, photographs, _STREAMS, seconds)
        figures.transports.setdefault("gRPC stream", []).append(stream)


def measure_all(arguments: argparse.Namespace) -> Figures:
    """Measure everything, in the order in which a cold machine warms up."""
    figures = Figures()
    photographs = [photograph(HEIGHT, WIDTH, "JPEG", seed) for seed in range(8)]
    checkpoint: Path = arguments.checkpoint
    with tempfile.TemporaryDirectory() as folder:
        cache_dir = arguments.cache_dir or Path(folder)
        chosen = {"models": checkpoint, "backend": "openvino", "cache_dir": cache_dir, "device": "cpu"}
        for start in ("first", "later"):
            with serving(**chosen) as served:
                figures.ready_s[start] = served.ready_after_s
                figures.memory_mb["ready"] = served.process.memory_info().rss / 1e6
        _say("started")
        measure_networks(figures, checkpoint, cache_dir, arguments.rounds)
        _say("networks")
        with PipelineProcess(checkpoint, cache_dir, photographs) as pipeline, serving(**chosen) as served:
            measure_lone(figures, served, pipeline, photographs, arguments.rounds)
            _say("lone")
            measure_saturated(figures, served, pipeline, photographs, arguments.turns, arguments.seconds)
            figures.memory_mb["after the load"] = served.process.memory_info().rss / 1e6
            _say("saturated")
        figures.overload_rate = 2 * figures.transport_rate("HTTP")
        with serving(**chosen, request_timeout_s=_DEADLINE_S) as served:
            loaded("http", served.http_port, photographs, _CLIENTS, 2.0)
            amount, seconds = figures.overload_rate, 2 * arguments.seconds
            figures.overload = loaded("overload", served.http_port, photographs, amount, seconds)
        _say("overloaded")
    return figures


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def report(figures: Figures, load: float) -> Iterator[str]:
    """Yield the lines of serving.md."""
    yield "# The service: what it promises, measured"
    yield ""
    yield f"Measured on {datetime.datetime.now():%Y-%m-%d %H:%M} by `python {shlex.join(sys.argv)}`."
    yield ""
    yield f"- {processor()}, {cores()} cores; load average before: {load:.1f}"
    names = ("torch", "openvino", "grpcio", "uvicorn", "numpy", "isal", "simplejpeg")
    yield f"- Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)
    yield f"- photographs: {WIDTH}x{HEIGHT} JPEG; answers: PNG16 as large; the student at its own size"
    yield "- client, service and pipeline are processes of their own on the same cores; medians of rounds"
    yield (
        "- `charged`: the pipeline's rate, had it paid for the client's processor time as the service did: "
        "1 / (1 / rate + client seconds each / cores)"
    )
    yield ""
    yield "| what | figure | target | met |"
    yield "| --- | --- | --- | --- |"
    for what, figure, target, met in _rows(figures):
        yield f"| {what} | {figure} | {target} | {'yes' if met else 'no'} |"


def _rows(figures: Figures) -> Iterator[tuple[str, str, str, bool]]:
    yield _row_of_networks(figures)
    arrangements = ", ".join(f"{name} {statistics.median(r):.1f}" for name, r in figures.pipeline.items())
    for way in figures.transports:
        rate, charged = figures.transport_rate(way), figures.charged_rate(way)
        client_ms = figures.client_s(way) * 1e3
        yield (
            f"(2) saturated {way} against the pipeline ({arrangements})",
            f"{rate:.1f} a second: {rate / charged:.2f} of it charged ({charged:.1f}), "
            f"{rate / figures.pipeline_rate:.2f} uncharged; the client took {client_ms:.2f} ms",
            "0.90",
            rate >= 0.9 * charged,
        )
    alone_ms = statistics.median(figures.lone_s["pipeline"]) * 1e3
    for way in ("HTTP", "gRPC"):
        added_ms = figures.added_s(way) * 1e3
        yield (
            f"(3) {way} adds to a lone request of {alone_ms:.1f} ms",
            f"{added_ms:.2f} ms",
            "3 ms",
            added_ms <= 3,
        )
    yield from _rows_of_the_service(figures)


def _row_of_networks(figures: Figures) -> tuple[str, str, str, bool]:
    """Compare the engines, each in the arrangement that is its best."""
    rates: dict[str, dict[str, float]] = {}
    for (engine, way), seconds in figures.networks_s.items():
        rates.setdefault(engine, {})[way] = 1 / statistics.median(seconds)
    eager, openvino = rates["torch eager"], rates["OpenVINO"]
    times = max(openvino.values()) / max(eager.values())
    each = "; ".join(f"{way}: {openvino[way]:.1f} against {rate:.1f}" for way, rate in eager.items())
    return (
        "(1) OpenVINO against torch eager fp32, images a second, each in the best of the same arrangements",
        f"{max(openvino.values()):.1f} against {max(eager.values()):.1f}: {times:.1f} times ({each})",
        "4 times",
        times >= 4,
    )


def _rows_of_the_service(figures: Figures) -> Iterator[tuple[str, str, str, bool]]:
    encoders = {one.name: one for one in measure_png16(40)}
    ours, pillow = encoders["ours"], encoders["Pillow, level 1"]
    times = pillow.median_s / ours.median_s
    exact = "bit-exact" if ours.exact else "NOT bit-exact"
    yield (
        "(4) PNG16 against Pillow's level 1",
        f"{ours.median_s * 1e3:.1f} against {pillow.median_s * 1e3:.1f} ms: {times:.1f} times, {exact}",
        "5 times, bit-exact",
        times >= 5 and ours.exact,
    )
    yield (
        f"(5) start to ready (the very first, with the export: {figures.ready_s['first']:.1f} s)",
        f"{figures.ready_s['later']:.2f} s",
        "5 s",
        figures.ready_s["later"] < 5,
    )
    memory = ", ".join(f"{name} {amount:.0f}" for name, amount in figures.memory_mb.items())
    yield "(5) resident memory, MB", memory, "700 MB", max(figures.memory_mb.values()) < 700
    saturation = figures.transport_rate("HTTP")
    over = figures.overload
    accepted = [s for s, status in zip(over.latencies_s, over.statuses, strict=True) if status != 429]
    p99_s = float(np.quantile(accepted, 0.99)) if accepted else float("inf")
    refused = sum(status == 429 for status in over.statuses)
    late = sum(status == 504 for status in over.statuses)
    others = sum(status not in (200, 429, 504) for status in over.statuses)
    yield (
        f"(6) goodput at {figures.overload_rate:.0f} requests a second against saturation",
        f"{over.per_second:.1f} of {saturation:.1f}: {over.per_second / saturation:.2f} "
        f"({refused} refused with 429, {late} accepted and too late with 504, {others} answered otherwise)",
        "0.90",
        over.per_second >= 0.9 * saturation,
    )
    yield (
        "(6) p99 of accepted requests",
        f"{p99_s:.2f} s",
        f"{_DEADLINE_S:g} s, the deadline",
        p99_s <= _DEADLINE_S,
    )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).parents[1]
    parser.add_argument("--checkpoint", type=Path, default=root / "model/pretrained/student.safetensors")
    parser.add_argument("--rounds", type=int, default=12, help="of what takes milliseconds")
    parser.add_argument("--turns", type=int, default=3, help="of what saturates the machine")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument(
        "--cache-dir", type=Path, help="with exports in it; without it the first start exports"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    figures = measure_all(arguments)
    text = "\n".join(report(figures, load)) + "\n"
    with replacing(arguments.output) as draft:
        draft.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
