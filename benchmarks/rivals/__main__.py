"""The comparison with other servers, whole: environments, measurements, report.

    python -m benchmarks.rivals [--quick]

What was measured is appended to results.jsonl as it comes, and a cell that is there is not measured again
unless other processes disturbed it: after an interruption the same command goes on. `--again` forgets what
is there.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.machine import processor
from benchmarks.rivals.cells import (
    Cell,
    append,
    plan,
    quick_plan,
    read_last,
    read_outcomes,
    read_sweeps,
    undisturbed,
)
from benchmarks.rivals.contenders import ARMS, NAMES, RIVALS, WORKERS, Contender
from benchmarks.rivals.environments import CACHE, HERE, ROOT, make, versions
from benchmarks.rivals.in_process import cores, measure_in_process
from benchmarks.rivals.load import Pace
from benchmarks.rivals.measure import Bench
from benchmarks.rivals.photographs import PAYLOADS, photographs
from benchmarks.rivals.report import write_report
from service.backends.openvino import computes_in_bfloat16

RESULTS = HERE / "results.jsonl"
_ATTEMPTS = 2
"""At a server that does not come up: on a busy machine some give up on themselves."""
QUICK_PACE = Pace(warm_s=0.3, measure_s=1.0)


SWEEP_PACE = Pace(warm_s=0.7, measure_s=5.0)


def grouped(
    cells: Sequence[Cell], round_: int, best: Mapping[tuple[str, str], int]
) -> list[tuple[Contender, list[Cell]]]:
    """Group cells by server and engine, with the best number of workers; each round begins with another."""
    ordered = sorted(cells, key=lambda cell: (ARMS.index(cell.arm), NAMES.index(cell.server)))
    groups = [
        (Contender(name=server, arm=arm, workers=best.get((server, arm), 1)), list(each))
        for (arm, server), each in groupby(ordered, key=lambda cell: (cell.arm, cell.server))
    ]
    start = (round_ * len(groups)) // 3 % len(groups)
    return groups[start:] + groups[:start]


def setting(servers: Sequence[str], before: Mapping[str, Any]) -> dict[str, object]:
    """Return on what, with what and at which commit it is measured; of other servers what was said before."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    return {
        "processor": processor(),
        "cores": cores(),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "commit": commit,
        "precision": "bfloat16" if computes_in_bfloat16() else "float32",
        "versions": {**before.get("versions", {}), **{name: versions(name) for name in servers}},
    }


def measure_all(arguments: argparse.Namespace, results: Path) -> None:
    """Measure whatever is not there yet."""
    pace = QUICK_PACE if arguments.quick else Pace()
    if arguments.seconds is not None:
        pace = replace(pace, measure_s=arguments.seconds)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    bench = Bench(CACHE, pace)
    cells = list((quick_plan if arguments.quick else plan)(arguments.servers))
    cells = [cell for cell in cells if cell.arm in arguments.arms]
    append(results, json.dumps({"setting": setting(arguments.servers, read_last(results, "setting"))}))
    best = sweep(cells, results, QUICK_PACE if arguments.quick else SWEEP_PACE)
    for round_ in range(rounds):
        there = undisturbed(read_outcomes(results), round_, cores())
        for contender, group in grouped(cells, round_, best):
            missing = [cell for cell in group if cell not in there]
            # Right beside what it is compared with: a machine of others' may be slower an hour later.
            if missing and (contender.name, contender.arm) == ("ours", "openvino"):
                _measure_in_process(round_, results, 2.0 if arguments.quick else 6.0)
            for _ in range(_ATTEMPTS):
                if missing:
                    missing = _measure_group(bench, contender, missing, round_, results)


def sweep(cells: Sequence[Cell], results: Path, pace: Pace) -> dict[tuple[str, str], int]:
    """Try each rival with each number of workers, unless that was done; return the best by rival and engine.

    The best gives the most answers a second for the headline's cell: mixed sizes, 16 at a time.
    """
    bench = Bench(CACHE, pace)
    for server, arm in sorted({(cell.server, cell.arm) for cell in cells if cell.server in RIVALS}):
        for workers in WORKERS:
            if workers in read_sweeps(results).get((server, arm), {}):
                continue
            cell = Cell(server=server, arm=arm, payload="mixed", format="png16", concurrency=16)
            rate = 0.0
            try:
                [outcome] = bench.measure(Contender(name=server, arm=arm, workers=workers), [cell], 0)
                rate = outcome.per_second
            except RuntimeError as error:  # a number of workers that it cannot have is not its best
                print(f"  FAILED: {error}", flush=True)
            print(f"{server}, {arm}, {workers} workers: {rate:.1f}/s", flush=True)
            told = {"server": server, "arm": arm, "workers": workers, "per_second": rate}
            append(results, json.dumps({"sweep": told}))
    return {who: max(rates, key=lambda count: rates[count]) for who, rates in read_sweeps(results).items()}


def _measure_in_process(round_: int, results: Path, seconds: float) -> None:
    pipelines = {}
    for payload, wanted in [*((name, "png16") for name in PAYLOADS), ("mixed", "float32")]:
        paths = [photograph.path for photograph in photographs(CACHE / "photographs", payload)]
        pipeline = measure_in_process(paths, wanted, seconds)
        print(f"in-process pipeline, {payload}, {wanted}: {pipeline.per_second:.1f} a second", flush=True)
        pipelines[f"{payload} {wanted}"] = asdict(pipeline)
    append(results, json.dumps({"in_process": pipelines, "round": round_}))


def _measure_group(
    bench: Bench, contender: Contender, cells: list[Cell], round_: int, results: Path
) -> list[Cell]:
    """Measure a server's cells, and return those that could not be."""
    left = list(cells)
    print(f"round {round_ + 1}: {contender.name}, {contender.arm}", flush=True)
    try:
        for outcome in bench.measure(contender, cells, round_):
            append(results, outcome.to_json())
            cell = outcome.cell
            left.remove(cell)
            what = f"{cell.payload:9} {cell.format:8} x{cell.concurrency:<3}"
            times = f"p50 {outcome.p50_ms:7.1f} ms  p99 {outcome.p99_ms:7.1f} ms"
            bad = f"{outcome.wrong + outcome.failures} bad of {outcome.checked}"
            print(f"  {what} {outcome.per_second:7.1f}/s  {times}  {bad}", flush=True)
    except RuntimeError as error:  # a server that falls over loses its cells; the others go on
        print(f"  FAILED: {error}", flush=True)
    return left


def main() -> None:
    """Set up, measure, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few cells, one short round, kept apart")
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rounds", type=int, help="5, or 1 where it is quick")
    parser.add_argument("--seconds", type=float, help="of each load; 10, or 1 where it is quick")
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    parser.add_argument("--only-report", action="store_true", help="write the report of what is there")
    arguments = parser.parse_args()
    results = CACHE / "quick.jsonl" if arguments.quick else RESULTS
    if arguments.again:
        results.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server outlives this
    began_s = time.monotonic()
    if not arguments.only_report:
        for name in RIVALS:
            if name in arguments.servers:
                make(name)
        measure_all(arguments, results)
    report = CACHE / "quick.md" if arguments.quick else HERE / "report.md"
    write_report(results, report, None if arguments.quick else ROOT / "docs" / "benchmarks.md")
    minutes = (time.monotonic() - began_s) / 60
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"{report.relative_to(ROOT)}: written on {today}, {minutes:.1f} minutes after the beginning")


if __name__ == "__main__":
    main()
