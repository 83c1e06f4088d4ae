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
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from benchmarks.machine import processor
from benchmarks.rivals.cells import Cell, append, plan, quick_plan, read_outcomes, undisturbed
from benchmarks.rivals.contenders import ARMS, NAMES, RIVALS, Contender
from benchmarks.rivals.environments import CACHE, HERE, ROOT, make, versions
from benchmarks.rivals.limit import cores, measure_limit
from benchmarks.rivals.load import Pace
from benchmarks.rivals.measure import Bench
from benchmarks.rivals.photographs import PAYLOADS, photographs
from benchmarks.rivals.report import write_report

RESULTS = HERE / "results.jsonl"
_ATTEMPTS = 2
"""At a server that does not come up: on a busy machine some give up on themselves."""
QUICK_PACE = Pace(warm_s=0.3, measure_s=1.0)


def grouped(cells: Sequence[Cell], round_: int) -> list[tuple[Contender, list[Cell]]]:
    """Group cells by server and engine; each round begins with another one."""
    ordered = sorted(cells, key=lambda cell: (ARMS.index(cell.arm), NAMES.index(cell.server)))
    groups = [
        (Contender(name=server, arm=arm), list(each))
        for (arm, server), each in groupby(ordered, key=lambda cell: (cell.arm, cell.server))
    ]
    start = (round_ * len(groups)) // 3 % len(groups)
    return groups[start:] + groups[:start]


def setting(servers: Sequence[str]) -> dict[str, object]:
    """Return on what, with what and by which command it is measured."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    return {
        "processor": processor(),
        "cores": cores(),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "commit": commit,
        "versions": {name: versions(name) for name in servers},
    }


def measure_all(arguments: argparse.Namespace, results: Path) -> None:
    """Measure whatever is not there yet."""
    pace = QUICK_PACE if arguments.quick else Pace()
    bench = Bench(CACHE, pace)
    cells = list((quick_plan if arguments.quick else plan)(arguments.servers))
    cells = [cell for cell in cells if cell.arm in arguments.arms]
    append(results, json.dumps({"setting": setting(NAMES)}))
    for round_ in range(1 if arguments.quick else arguments.rounds):
        there = undisturbed(read_outcomes(results), round_, cores())
        for contender, group in grouped(cells, round_):
            missing = [cell for cell in group if cell not in there]
            # Right beside what it is compared with: a machine of others' may be slower an hour later.
            if missing and (contender.name, contender.arm) == ("ours", "openvino"):
                _measure_limits(round_, results, 2.0 if arguments.quick else 6.0)
            for _ in range(_ATTEMPTS):
                if missing:
                    missing = _measure_group(bench, contender, missing, round_, results)


def _measure_limits(round_: int, results: Path, seconds: float) -> None:
    limits = {}
    for payload, wanted in [*((name, "png16") for name in PAYLOADS), ("mixed", "float32")]:
        paths = [photograph.path for photograph in photographs(CACHE / "photographs", payload)]
        limit = measure_limit(paths, wanted, seconds)
        print(f"limit, {payload}, {wanted}: {limit.per_second:.1f} a second", flush=True)
        limits[f"{payload} {wanted}"] = asdict(limit)
    append(results, json.dumps({"limit": limits, "round": round_}))


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
    parser.add_argument("--quick", action="store_true", help="few cells, one round, kept apart")
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
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
