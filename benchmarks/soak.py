"""A million requests of every kind, good, bad and abandoned, and what the service looks like after.

    python benchmarks/soak.py [--requests 1000000] [--minutes 600] [--callers 16] [--seed 1]

The network is the simulated backend, whose answer is a formula of the image: every answer is compared byte
for byte, PNG files pixel for pixel, with what that formula and the codec make of the photograph in this
process. A student and a teacher are served, and each is loaded anew four times meanwhile. Some callers send
what no client would, through every transport. Whoever sends half a request, leaves before the answer, cancels
or gives too little time counts as having left; everybody else must be answered. The event loop may never stop
for 100 ms.
Meanwhile the service's memory, files and threads are sampled, and at the end its gauges must be back at
nothing. The exit status is 1 where any of this fails, a reload is missing, or it ended early. SIGINT and
SIGTERM end it early: the report is written all the same, and says so.

The slope of the memory is the median of the slopes between all pairs of fifty equal parts of the second half
(Theil and Sen), each part with its median. Nothing is left out: what reloads keep is in it.

A million requests take over an hour on two processors that nothing else uses. Where something does, the
event loop waits for a processor, and that is a stop too. The callers give way to the service (nice).
"""

import argparse
import asyncio
import datetime
import itertools
import json
import os
import platform
import re
import shlex
import signal
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
from model.config import ModelConfig, preset
from model.metadata import CheckpointMetadata, DepthScale
from model.network import build

_FACTORS = {"student": 2.0, "teacher": 3.0}
"""Metres to a unit of depth, by which answers of the two differ."""
_PRESETS = {"student": "tiny", "teacher": "tiny-teacher"}
_RELOADS = 8
_ADMIN_KEY = "only-for-this-soak"
_MOST_STALL_S = 0.1
"""A bound of the histogram's buckets."""
_NICE = 10
_AT_REST = (
    "depth_in_flight",
    "depth_queue_length",
    "depth_open_streams",
    "depth_held_body_bytes",
    "depth_held_answer_bytes",
    "depth_held_pixel_bytes",
)
_REST_WITHIN_S = 30.0
_SAMPLE_S = 0.5
_PARTS = 50
_SETTLED = 0.5
"""What comes before this fraction of the requests warms caches and the allocator."""
_MEMORY_FROM = 20_000
"""Fewer requests say nothing of memory in the long run."""
_MOST_KB_PER_THOUSAND = 3.0
"""Of the resident memory, over the settled half."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The service at one moment."""

    asked: int
    cpu_s: float
    memory_bytes: int
    files: int
    threads: int


def sample(served: Serving, asked: int) -> Sample:
    """Look at the process."""
    process = served.process
    with process.oneshot():
        return Sample(
            asked=asked,
            cpu_s=served.cpu_s(),
            memory_bytes=process.memory_info().rss,
            files=process.num_fds(),
            threads=process.num_threads(),
        )


async def soak(
    served: Serving, size: tuple[int, int], arguments: argparse.Namespace
) -> tuple[Tally, list[Sample]]:
    """Send everything; return what became of it, and what the service looked like."""
    tally = Tally()
    corpus = Corpus(Random(arguments.seed), size, _FACTORS)
    ends_at_s = time.monotonic() + 60 * arguments.minutes
    random = Random(arguments.seed + 1)
    samples = [sample(served, 0)]
    callers = [Caller(corpus, tally, served.http_port, served.grpc_port) for _ in range(arguments.callers)]
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    async def work(caller: Caller) -> None:
        while tally.asked < arguments.requests and time.monotonic() < ends_at_s and not stopped.is_set():
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
                memory = f"{samples[-1].memory_bytes / 1e6:.1f} MB"
                text = f"{told} asked, {len(tally.wrong)} wrong, {len(tally.unanswered)} unanswered, {memory}"
                print(text, file=sys.stderr, flush=True)

    watching = asyncio.ensure_future(watch())
    reloading = asyncio.ensure_future(reload_models(served, tally, arguments))
    await asyncio.gather(*(work(caller) for caller in callers))
    watching.cancel()
    reloading.cancel()
    return tally, samples


async def reload_models(served: Serving, tally: Tally, arguments: argparse.Namespace) -> None:
    """Load each model anew, in turns, so often that the last comes well before the end."""
    began_s = time.monotonic()
    for turn in range(1, _RELOADS + 1):
        share = turn / (_RELOADS + 1)
        while (  # noqa: ASYNC110 - nothing tells when it is time
            tally.asked < share * arguments.requests
            and time.monotonic() < began_s + share * 60 * arguments.minutes
        ):
            await asyncio.sleep(0.2)
        name = tuple(_FACTORS)[turn % 2]
        url = f"http://127.0.0.1:{served.http_port}/admin/models/{name}/reload"
        request = urllib.request.Request(
            url, method="POST", headers={"authorization": f"Bearer {_ADMIN_KEY}"}
        )
        try:
            await asyncio.to_thread(_ask, request)
        except OSError as error:
            tally.wrong.append(f"reload of {name}: {error}")
        else:
            tally.count("reloaded", name)


def _ask(request: urllib.request.Request) -> None:
    urllib.request.urlopen(request, timeout=300).close()  # noqa: S310 - our own service


def figures(served: Serving) -> dict[str, float]:
    """Return what the service says of itself, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.http_port}/metrics") as answer:
        text = answer.read().decode()
    lines = re.findall(r"^(\w+)(\{.*\})? (\S+)$", text, re.MULTILINE)
    return {f"{name}{labels}": float(value) for name, labels, value in lines}


def stalls_of(found: dict[str, float]) -> dict[float, int]:
    """Return how many stops of the event loop were at most so many seconds, up to the longest."""
    name = "depth_event_loop_stall_seconds"
    stalls = {}
    for key, count in found.items():
        if key.startswith(f"{name}_bucket"):
            stalls[float(key.split('"')[1])] = int(count)
            if count == found[f"{name}_count"]:
                break
    return stalls


def left_over(served: Serving) -> dict[str, float]:
    """Return the gauges that do not come back to nothing."""
    ends_at_s = time.monotonic() + _REST_WITHIN_S
    while True:
        found = {
            name: value
            for name, value in figures(served).items()
            if name.partition("{")[0] in _AT_REST and value
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
    """Median of the slopes between all pairs of parts of the settled samples."""


def memory_of(samples: list[Sample]) -> Memory:
    """Fit the settled samples robustly, and compare their first quarter with their last."""
    settled = [each for each in samples if each.asked >= _SETTLED * samples[-1].asked] or samples
    part = max(1, len(settled) // 4)
    asked = np.array([each.asked for each in settled])
    memory_bytes = np.array([each.memory_bytes for each in settled])
    parts = np.minimum((asked - asked[0]) * _PARTS // max(1, asked[-1] - asked[0]), _PARTS - 1)
    points = [(np.median(asked[parts == n]), np.median(memory_bytes[parts == n])) for n in np.unique(parts)]
    pairs = itertools.combinations(points, 2)
    slopes = [(b_bytes - a_bytes) / (b - a) for (a, a_bytes), (b, b_bytes) in pairs]
    slope = float(np.median(slopes)) if slopes else 0.0
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
    if tally.asked >= _MEMORY_FROM and memory.kb_per_thousand > _MOST_KB_PER_THOUSAND:
        found.append(f"memory grew by {memory.kb_per_thousand:.2f} kB for each 1000 requests")
    return found


def troubles(said: dict[str, float]) -> list[str]:
    """Say what the service's own figures should not say."""
    found = [
        f"{name} is {value:g}"
        for name, value in said.items()
        if name.startswith("depth_request_seconds_count") and 'outcome="failed"' in name and value
    ]
    stall_s = max(stalls_of(said))
    if stall_s > _MOST_STALL_S:
        found.append(f"the event loop stopped for up to {stall_s:g} s")
    return found


def report(
    tally: Tally,
    memory: Memory,
    samples: list[Sample],
    after: Sample,
    seconds: float,
    found: list[str],
    load: float,
    stalls: dict[float, int],
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
    yield f"- the callers run with a nice of {_NICE}"
    yield "- the simulated backend under a student and a teacher; random sizes, kinds and formats"
    yield "- every answer compared byte for byte, PNG files pixel for pixel"
    yield ""
    yield "| what | figure |"
    yield "| --- | --- |"
    yield f"| requests (frames of streams counted one by one) | {tally.asked} in {seconds:.0f} s |"
    each_ms = (after.cpu_s - before.cpu_s) / max(1, tally.asked) * 1e3
    yield f"| processor time that the service took for each | {each_ms:.2f} ms |"
    yield f"| unanswered | {len(tally.unanswered)} |"
    yield f"| wrong answers | {len(tally.wrong)} |"
    reloads = {name: tally.outcomes[f"reloaded {name}"] for name in _FACTORS}
    grown = f"{memory.first_mb:.1f} and {memory.last_mb:.1f} MB"
    yield f"| the longest stop of the event loop | below {max(stalls) * 1e3:.0f} ms |"
    yield f"| reloads of the student and of the teacher | {reloads['student']} and {reloads['teacher']} |"
    yield f"| resident memory, first and last quarter of the second half | {grown} |"
    slope = f"{memory.kb_per_thousand:+.2f} kB for each 1000 requests"
    yield f"| slope of the memory over the second half | {slope} |"
    yield f"| open files before and after | {before.files} and {after.files} |"
    most = max(each.threads for each in samples)
    yield f"| threads before, at most, and after | {before.threads}, {most} and {after.threads} |"
    yield f"| anything else that should not be | {'; '.join(found)[:500] or 'nothing'} |"
    yield ""
    yield "| stops of the event loop, seen every 10 ms | number |"
    yield "| --- | --- |"
    shorter = 0
    for bound_s, count in stalls.items():
        yield f"| up to {bound_s * 1e3:g} ms | {count - shorter} |"
        shorter = count
    yield ""
    yield "| how requests ended | number |"
    yield "| --- | --- |"
    for name, number in sorted(tally.outcomes.items()):
        yield f"| {name} | {number} |"


def write(checkpoint: Path, config: ModelConfig, factor: float) -> None:
    """Write a network with random weights."""
    network = build(config, foundation_weights="random", backbone_weights="random")
    scale = DepthScale(unit="metre", metres_per_unit=factor)
    save_checkpoint(checkpoint, network, CheckpointMetadata(config=config, scale=scale))


def main() -> None:
    """Soak, write the report, and say by the exit status whether all was well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="end after so long, however many there were"
    )
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    config = preset("tiny")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder, "models")
        models.mkdir()
        for name, factor in _FACTORS.items():
            write(models / f"{name}.safetensors", preset(_PRESETS[name]), factor)
        with serving(
            models=models, backend="simulated", cache_dir=folder, log_level="info", admin_key=_ADMIN_KEY
        ) as served:
            os.nice(_NICE)
            began_s = time.monotonic()
            tally, samples = uvloop.run(soak(served, (config.height, config.width), arguments))
            seconds = time.monotonic() - began_s
            left = left_over(served)
            after = sample(served, tally.asked)
            errors = logged_errors(served.log)
            said = figures(served)
    memory = memory_of(samples)
    found = faults(tally, memory, left, samples[0], after)
    found += troubles(said)
    if tally.asked < arguments.requests:
        found.append(f"ended after {tally.asked} of {arguments.requests} requests")
    reloads = sum(tally.outcomes[f"reloaded {name}"] for name in _FACTORS)
    if reloads != _RELOADS:
        found.append(f"{reloads} reloads, not {_RELOADS}")
    found += [f"logged {count} times: {text}" for text, count in errors.items()]
    text = "\n".join(report(tally, memory, samples, after, seconds, found, load, stalls_of(said))) + "\n"
    with replacing(arguments.output) as draft:
        draft.write_text(text)
    print(text)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
