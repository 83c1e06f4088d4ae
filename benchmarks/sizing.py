"""What one core serves, and what two: for whoever has to say how many machines there should be.

    python benchmarks/sizing.py --foundation-weights dinov2_vits14.safetensors

The service is held to so many cores. Its client takes the others, and shares the service's where there are no
others; what it uses of them is in the report. Everything else is the service's own choice, as in production.
"""

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.decode import photograph
from benchmarks.load import Load, http_request, loaded
from benchmarks.machine import processor
from benchmarks.process import Serving, serving
from benchmarks.serving import lone_http
from model.atomic import replacing

HEIGHT, WIDTH = 375, 1242
"""Of the photographs, as KITTI's."""
_CLIENTS = 8
_STEADY = 0.7
"""Of what saturates: the load to plan with."""
_OK = 200


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on so many cores."""

    name: str
    cores: int
    apart: bool
    """Whether the client had cores of its own."""
    ready_s: float
    """From the start of the process, with the export in the cache."""
    lone_s: list[float]
    saturated: list[Load]
    steady: Load
    resident_mb: float
    """The most that it ever held."""

    @property
    def per_second(self) -> float:
        """In the median of the turns."""
        return statistics.median(load.per_second for load in self.saturated)

    @property
    def client_s(self) -> float:
        """Processor seconds that the client spent on each answer."""
        return sum(load.cpu_s for load in self.saturated) / sum(len(load.good_s) for load in self.saturated)


@contextmanager
def held_to(cores: set[int]) -> Iterator[None]:
    """Hold what is started within to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(name: str, cores: int, arguments: argparse.Namespace, settings: dict[str, object]) -> Row:
    """Start the service on so many cores, and ask it one by one, as fast as it can, and steadily."""
    everyone = sorted(os.sched_getaffinity(0))
    ours, others = set(everyone[:cores]), set(everyone[cores:])
    photographs = [photograph(HEIGHT, WIDTH, "JPEG", seed) for seed in range(8)]
    with held_to(ours), serving(**settings) as served, held_to(others or ours):
        lone_s = measure_lone(served, photographs, arguments.lone)
        loaded("http", served.http_port, photographs, _CLIENTS, arguments.seconds / 2)  # warms up
        saturated = [
            answered(loaded("http", served.http_port, photographs, _CLIENTS, arguments.seconds))
            for _ in range(arguments.turns)
        ]
        rate = _STEADY * statistics.median(load.per_second for load in saturated)
        steady = answered(loaded("overload", served.http_port, photographs, rate, 2 * arguments.seconds))
        resident_mb = most_resident_mb(served)
    return Row(
        name=name,
        cores=cores,
        apart=bool(others),
        ready_s=served.ready_after_s,
        lone_s=lone_s,
        saturated=saturated,
        steady=steady,
        resident_mb=resident_mb,
    )


def measure_lone(served: Serving, photographs: list[bytes], count: int) -> list[float]:
    """Ask one by one over one connection; the first tenth warms up."""
    asks = [lone_http(served.http_port, http_request(each)) for each in photographs]
    times = []
    for number in range(count + count // 10):
        began_s = time.perf_counter()
        asks[number % len(asks)]()
        times.append(time.perf_counter() - began_s)
    return times[count // 10 :]


def answered(load: Load) -> Load:
    """Return a load of which everything was answered with depth.

    Raises:
        RuntimeError: Something was not, so that its figures mean nothing.
    """
    others = [status for status in load.statuses if status != _OK]
    if others or not load.statuses:
        raise RuntimeError(f"{len(others)} of {len(load.statuses)} requests got no depth: {set(others)}")
    return load


def most_resident_mb(served: Serving) -> float:
    """Return the most memory that the service has ever held."""
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e6


def report(rows: list[Row], load: float) -> Iterator[str]:
    """Yield the lines of sizing.md."""
    yield "# Sizing: what one core serves, and what two"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(_shown(sys.argv))}`."
    yield ""
    yield f"- {processor()}, {os.cpu_count()} cores; load average before: {load:.1f}"
    names = ("openvino", "grpcio", "uvicorn", "numpy", "isal", "simplejpeg")
    yield f"- Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)
    yield f"- `POST /v1/depth`, {WIDTH}x{HEIGHT} JPEG in, PNG16 as large out; each network at its own size"
    yield f"- at most: {_CLIENTS} connections that ask as soon as they are answered; median of the turns"
    yield f"- steady: requests come evenly, at {_STEADY:.0%} of that, whatever becomes of those before"
    yield "- resident: the most that the process ever held, page cache left out"
    yield ""
    yield (
        "| network | cores | ready after | a lone request, p50 and p95 | images a second, at most "
        "| steady: images a second, p50 and p99 | resident | client |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        where = "cores of its own" if row.apart else "the same cores"
        steady = f"{_STEADY * row.per_second:.1f}: {_milliseconds(row.steady.good_s, 0.5, 0.99)}"
        client = f"{row.client_s * 1e3:.1f} ms an image, {where}"
        yield (
            f"| {row.name} | {row.cores} | {row.ready_s:.1f} s | {_milliseconds(row.lone_s, 0.5, 0.95)} "
            f"| {row.per_second:.1f} | {steady} | {row.resident_mb:.0f} MB | {client} |"
        )


def _milliseconds(times_s: list[float], *quantiles: float) -> str:
    values = [f"{np.quantile(times_s, quantile) * 1e3:.0f}" for quantile in quantiles]
    return f"{' and '.join(values)} ms"


def _shown(words: list[str]) -> list[str]:
    """Return a command line with the names of files alone, wherever they lay."""
    return [Path(word).name if word.startswith("/") else word for word in words]


def main() -> None:
    """Measure every network on every number of cores, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    pretrained = Path(__file__).parents[1] / "model" / "pretrained"
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--foundation-weights", type=Path, help="without it the teacher is left out")
    parser.add_argument("--cache-dir", type=Path, help="with exports in it; without it exports come first")
    parser.add_argument("--lone", type=int, default=60, help="requests that are alone")
    parser.add_argument("--turns", type=int, default=3, help="of what saturates")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load, rows = os.getloadavg()[0], []
    networks: dict[str, dict[str, object]] = {"student": {}}
    if arguments.foundation_weights is not None:
        networks["teacher"] = {"foundation_weights": arguments.foundation_weights}
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"backend": "openvino", "device": "cpu", "cache_dir": arguments.cache_dir or Path(folder)}
        for name, more in networks.items():
            settings = {**chosen, **more, "models": pretrained / f"{name}.safetensors"}
            with serving(**settings):
                pass  # the export is made once, and is not what is measured
            for cores in arguments.cores:
                rows.append(measure(name, cores, arguments, settings))
                text = "\n".join(report(rows, load)) + "\n"
                # After every row, so that a run cut short leaves what it measured.
                with replacing(arguments.output) as draft:
                    draft.write_text(text)
                print(text.splitlines()[-1], file=sys.stderr, flush=True)
    print(text)


if __name__ == "__main__":
    main()
