"""What the scheduler adds to a request: clients in line, and 10,000 requests a second, on a simulated card.

    python benchmarks/scheduler.py

The card sleeps as long as an H100 would compute (`service/backends/simulated.py` says whence), and images
are as small as can be, so whatever else is measured is the scheduler: the queue, the batches, and the
thread beside the event loop.
"""

import argparse
import asyncio
import datetime
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.machine import processor
from model.atomic import replacing
from model.checkpoint import save_checkpoint
from model.config import preset
from model.metadata import CheckpointMetadata
from model.network import build
from service.backends import BackendOptions
from service.backends.simulated import SimulatedBackend
from service.contract.errors import Overloaded
from service.scheduling.admission import Admission
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.clock import MonotonicClock
from service.scheduling.cost import Cost
from service.scheduling.worker import Worker

CLIENTS = (1, 8, 64)
RATE = 10_000
"""Requests a second of the last measurement."""
_TICK_S = 0.001
"""Requests of the same tick come together."""
_QUEUE_ITEMS = 2048

Item = np.ndarray
Ask = Callable[[], Awaitable[None]]


@dataclass
class Card:
    """A simulated card that remembers how long it was at work."""

    backend: SimulatedBackend
    busy_s: float = 0.0
    batches: list[int] = field(default_factory=list)

    @property
    def description(self) -> str:
        """The backend's."""
        return self.backend.description

    @property
    def height(self) -> int:
        """Of its images, in pixels."""
        return self.backend.height

    @property
    def width(self) -> int:
        """Likewise."""
        return self.backend.width

    @property
    def max_batch(self) -> int:
        """The largest batch."""
        return self.backend.max_batch

    @property
    def lanes(self) -> int:
        """How many batches at once."""
        return self.backend.lanes

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Sleep and answer."""
        began_s = time.perf_counter()
        answer = self.backend.predict(images)
        self.busy_s += time.perf_counter() - began_s
        self.batches.append(len(images))
        return answer

    def memory_bytes(self) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of asking."""

    what: str
    per_second: float
    p50_ms: float
    p99_ms: float
    mean_batch: float
    busy: float
    """The share of the time in which the card was at work."""
    gap_us: float
    """Between two batches, on average; where clients are always waiting, the scheduler's delay."""
    processor_us: float
    """Of the whole process, for each request."""
    own_us: float = 0.0
    """Without what the clients and the card cost by themselves."""


def small_checkpoint(folder: Path) -> Path:
    """Write a checkpoint for the smallest images; its weights are not used."""
    config = replace(preset("tiny"), height=32, width=32)
    network = build(config, foundation_weights="random", backbone_weights="random")
    path = folder / "small.safetensors"
    save_checkpoint(path, network, CheckpointMetadata(config=config))
    return path


async def in_line(ask: Ask, seconds: float, *, clients: int) -> list[float]:
    """Let clients ask again whenever they are answered; return the seconds of each request."""
    taken: list[float] = []
    ends_s = time.perf_counter() + seconds

    async def client() -> None:
        while (began_s := time.perf_counter()) < ends_s:
            await ask()
            taken.append(time.perf_counter() - began_s)

    await asyncio.gather(*(client() for _ in range(clients)))
    return taken


async def at_rate(ask: Ask, seconds: float, *, rate: int = RATE) -> list[float]:
    """Ask at a rate, whatever is answered; return the seconds of each request, from when it was due."""
    taken: list[float] = []

    async def one(due_s: float) -> None:
        try:
            await ask()
        except Overloaded:  # what is refused is missing from the answers a second
            return
        taken.append(time.perf_counter() - due_s)

    began_s, each_tick = time.perf_counter(), round(rate * _TICK_S)
    async with asyncio.TaskGroup() as group:
        for tick in range(int(seconds / _TICK_S)):
            due_s = began_s + tick * _TICK_S
            # Also where it is late already: the clients must not starve those whom they ask.
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            for _ in range(each_tick):
                group.create_task(one(due_s))
    return taken


async def measure(
    what: str, card: Card, ask: Ask, way: Callable[[Ask, float], Awaitable[Sequence[float]]], seconds: float
) -> Row:
    """Measure one way of asking, after a warm-up."""
    await way(ask, seconds / 5)
    card.busy_s, card.batches = 0.0, []
    processor_s, began_s = time.process_time(), time.perf_counter()
    taken = await way(ask, seconds)
    wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - processor_s
    quantiles = statistics.quantiles(taken, n=100)
    batches = len(card.batches)
    return Row(
        what=what,
        per_second=len(taken) / wall_s,
        p50_ms=quantiles[49] * 1e3,
        p99_ms=quantiles[98] * 1e3,
        mean_batch=len(taken) / batches if batches else 0.0,
        busy=card.busy_s / wall_s,
        gap_us=(wall_s - card.busy_s) / batches * 1e6 if batches else 0.0,
        processor_us=processor_s / len(taken) * 1e6,
    )


async def measure_all(checkpoint: Path, seconds: float) -> tuple[str, list[Row]]:
    """Measure every way; return the card's description, and the rows."""
    card = Card(SimulatedBackend(checkpoint, BackendOptions()))
    image = np.zeros((card.height, card.width, 3), np.uint8)
    sizes = [2**power for power in range(card.max_batch.bit_length())]
    clock, cost = MonotonicClock(), Cost({size: _alone(card, image, size) for size in sizes})
    worker = Worker("simulated card", lambda: card, hang_timeout_s=20.0)
    await worker.start()
    options = BatchOptions(max_batch=card.max_batch, max_items=_QUEUE_ITEMS)
    rows = []
    admission = Admission(1, clock)
    async with Batcher([worker], options, cost, clock) as batcher:

        async def ask() -> None:
            with admission.admit(batcher, ()) as ticket, batcher.place(ticket) as place:
                await place.submit(image)

        for clients in CLIENTS:
            name = f"{clients} client{'s' if clients > 1 else ''} in line"
            row = await measure(name, card, ask, partial(in_line, clients=clients), seconds)
            rows.append(replace(row, own_us=row.processor_us - _card_us(card, image, row.mean_batch)))
        paced = await measure(f"{RATE:,} a second", card, ask, at_rate, seconds)
    await worker.close()
    idle = await measure("nothing", card, lambda: asyncio.sleep(0), at_rate, seconds)
    own_us = paced.processor_us - idle.processor_us - _card_us(card, image, paced.mean_batch)
    return card.description, [*rows, replace(paced, own_us=own_us)]


def _alone(card: Card, image: Item, size: int) -> float:
    """Return the quickest of some batches of a size, in seconds."""
    batch = np.stack([image] * size)
    times = []
    for _ in range(5):
        began_s = time.perf_counter()
        card.predict(batch)
        times.append(time.perf_counter() - began_s)
    return min(times)


def _card_us(card: Card, image: Item, mean_batch: float) -> float:
    """Return the processor time that the card takes for each request: a sleep, and its small answer."""
    size, times = max(1, round(mean_batch)), 200
    batch = np.stack([image] * size)
    began_s = time.process_time()
    for _ in range(times):
        card.predict(batch)
    return (time.process_time() - began_s) / times / size * 1e6


def report(description: str, rows: Sequence[Row], seconds: float, load: float) -> str:
    """Return scheduler.md."""
    head = f"""\
# What the scheduler adds to a request

Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`.

- {processor()}, {os.cpu_count()} cores; load average before: {load:.1f}
- {description}; batches of up to 64; nobody waits for company
- each line: {seconds:g} s, after a warm-up of a fifth of that
- clients in line ask again when they are answered; at a rate, latency counts from when a request was due
- gap: how long the card lay idle between two batches, on average; where clients are always waiting, this is
  what the scheduler costs the card
- process: processor time of the whole process for each request, clients and card's code included
- scheduler: the same less what the card's own code takes and, at a rate, less what the clients take when they
  ask nobody

| asked by | answers/s | median ms | p99 ms | mean batch | card busy | gap, us | process, us | scheduler, us |
{"| --- " * 9}|
"""
    table = [
        f"| {row.what} | {row.per_second:,.0f} | {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.mean_batch:.1f} "
        f"| {row.busy:.0%} | {row.gap_us:.0f} | {row.processor_us:.0f} | {row.own_us:.0f} |"
        for row in rows
    ]
    last = f"At {RATE:,} requests a second the scheduler takes {rows[-1].own_us:.0f} us of a core for each."
    return head + "\n".join([*table, "", last]) + "\n"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = small_checkpoint(Path(folder))
        description, rows = uvloop.run(measure_all(checkpoint, arguments.seconds))
    text = report(description, rows, arguments.seconds, load)
    with replacing(arguments.output) as partial:
        partial.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
