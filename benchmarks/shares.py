"""Who is answered when everybody asks at once: high priorities beside plain ones, large images beside small.

    python benchmarks/shares.py

Everything is the service's own but the device, which sleeps as long as a student takes on a CPU of two cores.
With `--json` the figures are written instead of the table; `--before` takes those of an older commit, where
this script runs, too.
"""

import argparse
import asyncio
import datetime
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.machine import processor
from benchmarks.scheduler import small_checkpoint
from model.atomic import replacing
from service.backends import BackendOptions
from service.contract.errors import DeadlineExceeded, Overloaded
from service.contract.request import DepthRequest
from service.engine import Engine
from service.settings import Settings
from service.telemetry.metrics import Metrics

_EACH_S, _BATCH_S, _MAX_BATCH = 0.013, 0.003, 4
"""Of an image in a batch, and of a batch."""
_TIMEOUT_S = 2.0
_FLEET, _PLAIN = 24, 40
_SMALL = 64
_PAUSE_S = 0.05
"""After a refusal."""

Figures = dict[str, Any]


class Sleeper:
    """A device that sleeps and returns disparity of nothing."""

    description, height, width, max_batch, lanes, padded = "asleep", 32, 32, _MAX_BATCH, 1, False

    def __init__(self, kind: str, path: Path, options: BackendOptions) -> None:
        del kind, path, options

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Sleep as long as such a batch takes."""
        time.sleep(_BATCH_S + _EACH_S * len(images))
        return np.full(images.shape[:3], 0.5, np.float32)

    def memory_bytes(self) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""


def _request(image: bytes, caller: str, priority: int = 0) -> DepthRequest:
    known = {"caller": caller} if "caller" in {each.name for each in fields(DepthRequest)} else {}
    return DepthRequest(image=image, priority=priority, deadline_s=time.monotonic() + _TIMEOUT_S, **known)


async def _ask(engine: Engine, request: DepthRequest, outcomes: list[tuple[str, float]]) -> str:
    began_s = time.monotonic()
    try:
        await engine.depth(request)
        outcome = "answered"
    except Overloaded:
        outcome = "refused"
    except DeadlineExceeded:
        outcome = "expired"
    outcomes.append((outcome, time.monotonic() - began_s))
    return outcome


def _counted(outcomes: Sequence[tuple[str, float]]) -> Figures:
    times = [seconds for outcome, seconds in outcomes if outcome == "answered"]
    median_s = statistics.median(times) if times else 0.0
    return {**Counter(outcome for outcome, _ in outcomes), "median_s": median_s}


async def beside_a_fleet(engine: Engine, image: bytes) -> Figures:
    """Let callers of priority 1 ask all the time, and plain ones once each, ten a second."""
    fleet: list[tuple[str, float]] = []
    plain: list[tuple[str, float]] = []

    async def again_and_again() -> None:
        while True:
            if await _ask(engine, _request(image, "fleet", 1), fleet) == "refused":
                await asyncio.sleep(_PAUSE_S)

    tasks = [asyncio.create_task(again_and_again()) for _ in range(_FLEET)]
    await asyncio.sleep(2.0)
    async with asyncio.TaskGroup() as group:
        for _ in range(_PLAIN):
            group.create_task(_ask(engine, _request(image, "plain"), plain))
            await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {f"{_FLEET} callers of priority 1": _counted(fleet), f"{_PLAIN} plain requests": _counted(plain)}


async def after_a_large_one(engine: Engine, image: bytes, large: bytes) -> Figures:
    """Ask for one large image, the very first, and then for many small ones at once."""
    outcomes: list[tuple[str, float]] = []
    await _ask(engine, _request(large, "first"), [])
    async with asyncio.TaskGroup() as group:
        for _ in range(_SMALL):
            group.create_task(_ask(engine, _request(image, "others"), outcomes))
    return {f"{_SMALL} small images after one of 24 megapixels": _counted(outcomes)}


async def measure(checkpoint: Path) -> Figures:
    """Measure both, each with a service of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    image = cv2.imencode(".jpg", noise)[1].tobytes()
    large = cv2.imencode(".png", cv2.resize(noise, (6000, 4000)))[1].tobytes()
    figures: Figures = {}
    settings = Settings(_env_file=None, models=checkpoint, backend="simulated", watch_interval_s=0.0)
    for scenario, images in ((beside_a_fleet, (image,)), (after_a_large_one, (image, large))):
        async with Engine(settings, Metrics(CollectorRegistry()), opening=Sleeper) as engine:
            await engine.wait_ready()
            figures |= await scenario(engine, *images)  # type: ignore[operator]
    return figures


def report(figures: Figures, before: Figures | None, load: float) -> str:
    """Return shares.md."""
    lines = [
        "# Who is answered when everybody asks at once",
        "",
        f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`.",
        "",
        f"- {processor()}, {os.cpu_count()} cores; load average before: {load:.1f}",
        f"- a device of {_EACH_S * 1e3:g} ms an image and {_BATCH_S * 1e3:g} ms a batch of {_MAX_BATCH}",
        f"- every request waits {_TIMEOUT_S:g} s at most; the callers of priority 1 have one key, and ask",
        "  again when they are answered; the plain requests are another key's, ten a second",
        "- expired: accepted, and not answered in time",
        "",
        "| who asks | when | answered | refused at once | expired | median, s |",
        "| --- " * 6 + "|",
    ]
    for when, those in (("before", before or {}), ("now", figures)):
        lines += [
            f"| {who} | {when} | "
            + " | ".join(str(got.get(outcome, 0)) for outcome in ("answered", "refused", "expired"))
            + f" | {got['median_s']:.2f} |"
            for who, got in those.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures there, and no table")
    parser.add_argument("--before", type=Path, help="figures of an older commit")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        figures = uvloop.run(measure(small_checkpoint(Path(folder))))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures))
        return
    before = None if arguments.before is None else json.loads(arguments.before.read_text())
    text = report(figures, before, load)
    with replacing(arguments.output) as partial:
        partial.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
