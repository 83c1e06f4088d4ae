"""A hundred thousand requests of every kind, good, bad and abandoned, and what the service looks like after.

    python benchmarks/soak.py [--requests 100000] [--callers 16] [--seed 1]

The network is the simulated backend, whose answer is a formula of the image: every answer is compared byte
for byte, PNG files pixel for pixel, with what that formula and the codec make of the photograph in this
process. Whoever sends half a request, leaves before the answer, cancels or gives too little time counts as
having left; everybody else must be answered. Meanwhile the service's memory, files and threads are sampled,
and at the end its gauges must be back at nothing. The exit status is 1 where any of this fails.
"""

import argparse
import asyncio
import datetime
import json
import os
import platform
import re
import shlex
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import grpc
import numpy as np
import uvloop

from benchmarks.machine import processor
from benchmarks.process import Serving, serving
from benchmarks.soak_callers import Caller, Tally
from benchmarks.soak_corpus import Corpus
from model.atomic import replacing
from model.checkpoint import save_checkpoint
from model.config import preset
from model.metadata import CheckpointMetadata, DepthScale
from model.network import build

_FACTOR = 2.0
_AT_REST = ("depth_in_flight", "depth_queue_length", "depth_open_streams", "depth_held_body_bytes")
_REST_WITHIN_S = 30.0
_SAMPLE_S = 0.5
_SETTLED = 0.25
"""What comes before this fraction of the requests warms caches and the allocator."""
_MEMORY_FROM = 20_000
"""Fewer requests say nothing of memory in the long run."""
_MOST_GROWTH = 0.05
"""Of the resident memory, from the first settled quarter to the last, over all requests."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The service at one moment."""

    asked: int
    memory_bytes: int
    files: int
    threads: int


def sample(served: Serving, asked: int) -> Sample:
    """Look at the process."""
    process = served.process
    with process.oneshot():
        return Sample(
            asked=asked,
            memory_bytes=process.memory_info().rss,
            files=process.num_fds(),
            threads=process.num_threads(),
        )


async def soak(
    served: Serving, size: tuple[int, int], arguments: argparse.Namespace
) -> tuple[Tally, list[Sample]]:
    """Send everything; return what became of it, and what the service looked like."""
    tally = Tally()
    corpus = Corpus(Random(arguments.seed), size, _FACTOR)
    random = Random(arguments.seed + 1)
    samples = [sample(served, 0)]
    callers = [Caller(corpus, tally, served.http_port, served.grpc_port) for _ in range(arguments.callers)]

    async def work(caller: Caller) -> None:
        while tally.asked < arguments.requests:
            await caller.do(Random(random.getrandbits(64)))
        await caller.close()

    async def watch() -> None:
        told, wrong = 0, 0
        while True:
            await asyncio.sleep(_SAMPLE_S)
            for text in tally.wrong[wrong : wrong + 5]:
                print(f"wrong: {text}", file=sys.stderr, flush=True)
            wrong = len(tally.wrong)
            samples.append(sample(served, tally.asked))
            if tally.asked - told >= 5000:
                told = tally.asked
                print(f"{told} asked, {len(tally.wrong)} wrong", file=sys.stderr, flush=True)

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(work(caller) for caller in callers))
    watching.cancel()
    return tally, samples


def left_over(served: Serving) -> dict[str, float]:
    """Return the gauges that do not come back to nothing."""
    ends_at_s = time.monotonic() + _REST_WITHIN_S
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.http_port}/metrics") as answer:
            text = answer.read().decode()
        found = {
            f"{name}{labels}": float(value)
            for name, labels, value in re.findall(r"^(\w+)(\{.*\})? (\S+)$", text, re.MULTILINE)
            if name in _AT_REST and float(value)
        }
        if not found or time.monotonic() > ends_at_s:
            return found
        time.sleep(0.2)


def logged_errors(log: Path) -> Counter[str]:
    """Count the errors in the service's log by their last lines."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return Counter(
        (line.get("traceback") or line["message"]).strip().splitlines()[-1]
        for line in lines
        if line["level"] in ("error", "critical")
    )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How the resident memory went, once it was warm."""

    first_mb: float
    last_mb: float
    kb_per_thousand: float
    """Slope of the line through all settled samples."""


def memory_of(samples: list[Sample]) -> Memory:
    """Fit a line through the settled samples, and compare their first quarter with their last."""
    settled = [each for each in samples if each.asked >= _SETTLED * samples[-1].asked] or samples
    part = max(1, len(settled) // 4)
    slope = 0.0
    if len({each.asked for each in settled}) > 1:
        slope = float(np.polyfit([s.asked for s in settled], [s.memory_bytes for s in settled], 1)[0])
    return Memory(
        first_mb=statistics.median(s.memory_bytes for s in settled[:part]) / 1e6,
        last_mb=statistics.median(s.memory_bytes for s in settled[-part:]) / 1e6,
        kb_per_thousand=slope,
    )


def faults(tally: Tally, memory: Memory, left: dict[str, float], before: Sample, after: Sample) -> list[str]:
    """Say what should not be."""
    found = [f"wrong: {text}" for text in tally.wrong] + [f"unanswered: {text}" for text in tally.unanswered]
    found += [f"not back at rest: {name} is {value:g}" for name, value in left.items()]
    if after.files > before.files + 2:
        found.append(f"{after.files} files are open; there were {before.files}")
    if tally.asked >= _MEMORY_FROM and memory.last_mb > memory.first_mb * (1 + _MOST_GROWTH):
        found.append(f"memory grew from {memory.first_mb:.1f} to {memory.last_mb:.1f} MB")
    return found


def report(
    tally: Tally,
    memory: Memory,
    samples: list[Sample],
    after: Sample,
    seconds: float,
    found: list[str],
    load: float,
) -> Iterator[str]:
    """Yield the lines of soak.md."""
    before = samples[0]
    yield "# Soak: what is left after many requests of every kind"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`."
    yield ""
    versions = f"Python {platform.python_version()}, grpcio {grpc.__version__}"
    yield f"- {processor()}, {os.cpu_count()} cores; {versions}"
    yield f"- load average before: {load:.1f}; callers and service shared the cores with whatever else ran"
    yield "- the simulated backend; random sizes, kinds and formats"
    yield "- every answer compared byte for byte, PNG files pixel for pixel"
    yield ""
    yield "| what | figure |"
    yield "| --- | --- |"
    yield f"| requests (frames of streams counted one by one) | {tally.asked} in {seconds:.0f} s |"
    yield f"| unanswered | {len(tally.unanswered)} |"
    yield f"| wrong answers | {len(tally.wrong)} |"
    grown = f"{memory.first_mb:.1f} and {memory.last_mb:.1f} MB"
    yield f"| resident memory, first settled quarter and last | {grown} |"
    yield f"| slope of the memory | {memory.kb_per_thousand:+.2f} kB for each 1000 requests |"
    yield f"| open files before and after | {before.files} and {after.files} |"
    most = max(each.threads for each in samples)
    yield f"| threads before, at most, and after | {before.threads}, {most} and {after.threads} |"
    yield f"| anything else that should not be | {'; '.join(found)[:500] or 'nothing'} |"
    yield ""
    yield "| how requests ended | number |"
    yield "| --- | --- |"
    for name, number in sorted(tally.outcomes.items()):
        yield f"| {name} | {number} |"


def main() -> None:
    """Soak, write the report, and say by the exit status whether all was well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    config = preset("tiny")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "tiny.safetensors")
        network = build(config, foundation_weights="random", backbone_weights="random")
        scale = DepthScale(unit="metre", metres_per_unit=_FACTOR)
        save_checkpoint(checkpoint, network, CheckpointMetadata(config=config, scale=scale))
        with serving(models=checkpoint, backend="simulated", cache_dir=folder, log_level="info") as served:
            began_s = time.monotonic()
            tally, samples = uvloop.run(soak(served, (config.height, config.width), arguments))
            seconds = time.monotonic() - began_s
            left = left_over(served)
            after = sample(served, tally.asked)
            errors = logged_errors(served.log)
    memory = memory_of(samples)
    found = faults(tally, memory, left, samples[0], after)
    found += [f"logged {count} times: {text}" for text, count in errors.items()]
    text = "\n".join(report(tally, memory, samples, after, seconds, found, load)) + "\n"
    with replacing(arguments.output) as draft:
        draft.write_text(text)
    print(text)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
