"""What several replicas of one thread do side by side: networks alone, and whole services behind one port.

    python -m benchmarks.replicas

A network alone is a process that predicts in one thread and does nothing else. The services share their port
(`DEPTH_REUSE_PORT`), so that the kernel divides connections among them; their client has the same cores. In
the last rows the network costs nothing, which leaves transports and codecs: what no faster network passes.
"""

import argparse
import datetime
import os
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.decode import photograph
from benchmarks.load import Load, loaded
from benchmarks.machine import processor
from benchmarks.process import Serving, serving
from benchmarks.rivals.contenders import free_port
from model.atomic import replacing
from service.backends import BackendOptions, open_backend
from service.settings import PRETRAINED

HEIGHT, WIDTH = 375, 1242
STUDENT = PRETRAINED / "student.safetensors"
_CLIENTS = 16
"""Of all processes together: even four of them have some each, however the kernel divides them."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One load on a group of services."""

    load: Load
    cpu_s: float
    """Of the services."""


def networks(count: int, seconds: float) -> float:
    """Return how many images a second so many networks of one thread predict, each in its own process."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_predict, args=(theirs, seconds)) for _, theirs in pipes]
    for process in processes:
        process.start()
    for ours, _ in pipes:
        ours.recv()
    for ours, _ in pipes:
        ours.send(None)
    rates: list[float] = [ours.recv() for ours, _ in pipes]
    for process in processes:
        process.join()
    return sum(rates)


def _predict(told: Connection, seconds: float) -> None:
    backend = open_backend("openvino", STUDENT, BackendOptions(threads=1))
    image = np.random.default_rng(0).integers(0, 256, (1, backend.height, backend.width, 3), np.uint8)
    told.send(None)
    told.recv()
    count, began_s = 0, time.perf_counter()
    while (now_s := time.perf_counter()) < began_s + seconds:
        backend.predict(image)
        count += 1
    told.send(count / (now_s - began_s))


def turn(group: Sequence[Serving], image: bytes, seconds: float) -> Turn:
    """Put a load on all services of a group, through their port."""
    before_s = [each.cpu_s() for each in group]
    load = loaded("http", group[0].http_port, [image], _CLIENTS, seconds)
    return Turn(load=load, cpu_s=sum(each.cpu_s() for each in group) - sum(before_s))


def services(counts: Sequence[int], backend: str, rounds: int, seconds: float) -> dict[int, list[Turn]]:
    """Measure groups of so many services, all of them there at once and loaded in turn."""
    image = photograph(HEIGHT, WIDTH, "JPEG")
    turns: dict[int, list[Turn]] = {count: [] for count in counts}
    with ExitStack() as stack:
        groups = {}
        for count in counts:
            ports = {"http_port": free_port(), "grpc_port": free_port(), "reuse_port": True}
            chosen = {"models": STUDENT, "backend": backend, "threads": 1, "codec_threads": 1, **ports}
            groups[count] = [stack.enter_context(serving(**chosen)) for _ in range(count)]
            loaded("http", groups[count][0].http_port, [image], _CLIENTS, 1.0)
        for _ in range(rounds):
            for count, group in groups.items():
                turns[count].append(turn(group, image, seconds))
    return turns


def _rows(name: str, turns: dict[int, list[Turn]]) -> list[str]:
    one = statistics.median(turn.load.per_second for turn in turns[min(turns)])
    rows = []
    for count, each in turns.items():
        rate = statistics.median(turn.load.per_second for turn in each)
        cpu_ms = statistics.median(turn.cpu_s / len(turn.load.good_s) * 1e3 for turn in each)
        client_ms = statistics.median(turn.load.cpu_s / len(turn.load.good_s) * 1e3 for turn in each)
        bad = sum(len(turn.load.statuses) - len(turn.load.good_s) for turn in each)
        figures = f"{rate:.1f} | {rate / count:.1f} | {rate / one:.2f} | {cpu_ms:.1f} | {client_ms:.1f}"
        rows.append(f"| {name} | {count} | {figures} | {1e3 / cpu_ms:.0f} | {bad} |")
    return rows


def report(
    alone: dict[int, list[float]], whole: dict[int, list[Turn]], bare: dict[int, list[Turn]], load: float
) -> str:
    """Return replicas.md."""
    ratios = [two / one for one, two in zip(alone[1], alone[2], strict=True)]
    command = shlex.join(["python", "-m", "benchmarks.replicas", *sys.argv[1:]])
    columns = (
        "services behind one port",
        "processes",
        "answers a second",
        "of each",
        "to one",
        "processor ms an answer",
        "client's ms",
        "answers a second of one core",
        "not answered",
    )
    lines = [
        "# Replicas of one thread, side by side",
        "",
        f"Measured on {datetime.date.today().isoformat()} by `{command}`.",
        "",
        f"- {processor()}, {os.cpu_count()} cores; load average before: {load:.1f}",
        f"- {len(ratios)} rounds, the groups in turn in each; medians",
        f"- pictures of {WIDTH}x{HEIGHT}, JPEG to PNG16; {_CLIENTS} connections; the client shares the cores",
        "",
        "| networks of one thread, each in a process of its own | images a second |",
        "| --- | --- |",
        *(f"| {count} | {statistics.median(rates):.1f} |" for count, rates in alone.items()),
        "",
        f"Two do {statistics.median(ratios):.2f} times as much ({min(ratios):.2f} to {max(ratios):.2f}).",
        "",
        f"| {' | '.join(columns)} |",
        "| --- " * len(columns) + "|",
        *_rows("as they ship, one thread each", whole),
        *_rows("the network costs nothing", bare),
        "",
        "One process keeps more than one core busy: its network has a thread, its codecs another and",
        "its event loop a third. *Answers a second of one core* is 1,000 over the processor time of an",
        "answer. In rows whose network costs nothing it is where codecs and transports are the wall.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    alone: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(arguments.rounds):
        for count, rates in alone.items():
            rates.append(networks(count, arguments.seconds))
    whole = services((1, 2, 4), "openvino", arguments.rounds, arguments.seconds)
    bare = services((1, 2, 4), "simulated", arguments.rounds, arguments.seconds)
    text = report(alone, whole, bare, load)
    with replacing(arguments.output) as partial:
        partial.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
