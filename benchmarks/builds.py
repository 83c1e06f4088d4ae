"""What a request costs on one core, by this build of the service and by an older one, in turn.

    git worktree add --detach BEFORE COMMIT
    python -m benchmarks.builds BEFORE

Both run with the packages that are installed here, each held to the same core, with the student that it
ships; the client has another core where there is one. Requests are whole: a JPEG comes in over HTTP, and
PNG16 goes back.
"""

import argparse
import datetime
import os
import shlex
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.decode import photograph
from benchmarks.load import Load, loaded
from benchmarks.machine import processor
from benchmarks.process import ROOT, Serving, serving
from benchmarks.sizing import answered, held_to, most_resident_mb
from model.atomic import replacing

HEIGHT, WIDTH = 375, 1242
_CLIENTS = 4

Rounds = list[tuple[Load, float]]
"""Loads, each with the processor time that the service took for it."""


def measure(service: Serving, image: bytes, seconds: float) -> tuple[Load, float]:
    """Ask one service for a while."""
    before_s = service.cpu_s()
    load = answered(loaded("http", service.http_port, [image], _CLIENTS, seconds))
    return load, service.cpu_s() - before_s


def commit(root: Path) -> str:
    """Return what a checkout is of."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def row(name: str, rounds: Rounds, before: Rounds, resident_mb: float) -> str:
    """Return a build's line of the table."""
    rates = [load.per_second for load, _ in rounds]
    ratios = [now / then.per_second for now, (then, _) in zip(rates, before, strict=True)]
    cpu_ms = statistics.median(cpu_s / len(load.good_s) * 1e3 for load, cpu_s in rounds)
    then_ms = statistics.median(cpu_s / len(load.good_s) * 1e3 for load, cpu_s in before)
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return (
        f"| {name} | {statistics.median(rates):.1f} | {ratio} | {cpu_ms:.1f} | {then_ms / cpu_ms:.2f} "
        f"| {resident_mb:.0f} |"
    )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path, help="a checkout of the older build")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    load_average = os.getloadavg()[0]
    image = photograph(HEIGHT, WIDTH, "JPEG")
    everyone = sorted(os.sched_getaffinity(0))
    chosen = {"threads": 1, "codec_threads": 1}
    roots = {"before": arguments.before.resolve(), "now": ROOT}
    rounds: dict[str, Rounds] = {name: [] for name in roots}
    with ExitStack() as stack:
        with held_to({everyone[-1]}):
            served = {name: stack.enter_context(serving(root, **chosen)) for name, root in roots.items()}
        with held_to(set(everyone[:-1] or everyone)):
            for name in roots:
                measure(served[name], image, 1.0)  # warms up
            for _ in range(arguments.rounds):
                for name in roots:
                    rounds[name].append(measure(served[name], image, arguments.seconds))
        resident_mb = {name: most_resident_mb(each) for name, each in served.items()}
    shown = ["BEFORE" if word == str(arguments.before) else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", "benchmarks.builds", *shown])
    lines = [
        "# A whole request on one core, by two builds",
        "",
        f"Measured on {datetime.date.today().isoformat()} by `{command}`.",
        "",
        f"- {processor()}, {os.cpu_count()} cores, one the services'; load before {load_average:.1f}",
        f"- {arguments.rounds} rounds of {arguments.seconds:g} s, in turn; medians",
        f"- JPEG of {WIDTH}x{HEIGHT} to PNG16 of that size, {_CLIENTS} callers",
        "",
        "| build | answers a second | to the older one | processor ms an answer | as often | resident, MB |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            row(f"{name}: {commit(root)}", rounds[name], rounds["before"], resident_mb[name])
            for name, root in roots.items()
        ),
    ]
    text = "\n".join(lines) + "\n"
    with replacing(arguments.output) as partial:
        partial.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
