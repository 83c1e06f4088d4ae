"""Everything that this project says of GPUs, tried in five minutes on a machine that has one.

    python benchmarks/gpu_trial.py

Needs this tree, torch, timm, safetensors, numpy, Pillow and OpenCV; `depth-serve` is tried where its packages
are there. Without a CUDA device the parts that a CPU can do are run, and it says so. What came of it goes to
gpu_trial.json and gpu_trial.md, beside this file; exit status 1 where a part failed.
"""

# ruff: noqa: E402 - stand-ins for packages that are missing come before what imports them

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import plain_machine

plain_machine.prepare()

import torch

from benchmarks.gpu_trial_networks import codec, graphs, parity, reloads, throughput
from benchmarks.gpu_trial_parts import NeedsGpu, Row, Trial
from benchmarks.gpu_trial_service import service
from benchmarks.gpu_trial_steps import steps
from benchmarks.machine import processor

PARTS: dict[str, Callable[[Trial], list[Row]]] = {
    "parity": parity,
    "graphs": graphs,
    "throughput": throughput,
    "reloads": reloads,
    "training step": steps,
    "codec": codec,
    "service": service,
}


@dataclass(kw_only=True)
class Report:
    """What came of a trial."""

    machine: dict[str, str]
    command: str
    cuda: bool
    quick: bool
    rows: dict[str, list[Row]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the report as Markdown."""
        about = "; ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = ["# A trial on a GPU", "", f"`{self.command}`: {about}.", ""]
        if not self.cuda:
            lines += [
                "**No CUDA device was there: only what a CPU can do was run, and no figure is a GPU's.**",
                "",
            ]
        for part, rows in self.rows.items():
            lines += [
                f"## {part} ({self.seconds[part]:.0f} s)",
                "",
                "| what | value | unit |",
                "| --- | --- | --- |",
            ]
            lines += [f"| {row.what} | {row.value:.6g} | {row.unit} |" for row in rows] + [""]
        lines += [f"- {part}: not run, {why}" for part, why in self.skipped.items()]
        lines += [f"- {part}: **failed**, {why}" for part, why in self.failed.items()]
        return "\n".join(lines).rstrip() + "\n"


def run(trial: Trial, wanted: list[str], command: str) -> Report:
    """Run parts one after the other; one that fails takes nothing from the others."""
    report = Report(machine=_machine(trial), command=command, cuda=trial.cuda, quick=trial.quick)
    for part in wanted:
        began = time.monotonic()
        try:
            report.rows[part] = PARTS[part](trial)
        except NeedsGpu as reason:
            report.skipped[part] = str(reason)
        except (
            Exception
        ) as error:  # whatever fails on a machine that we never saw is what this is to find out
            traceback.print_exc()
            report.failed[part] = f"{type(error).__name__}: {error}".splitlines()[0]
        report.seconds[part] = round(time.monotonic() - began, 1)
        print(f"{part}: {report.seconds[part]} s", file=sys.stderr, flush=True)
    return report


def _machine(trial: Trial) -> dict[str, str]:
    machine = {"torch": torch.__version__, "Python": platform.python_version(), "processor": processor()}
    if trial.cuda:
        machine["GPU"] = torch.cuda.get_device_name(trial.device)
        machine["CUDA"] = str(torch.version.cuda)
    return machine


def main() -> None:
    """Run the trial and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny networks, a moment each: whether it runs at all"
    )
    parser.add_argument("--foundation-weights", type=Path, help="of the teacher; random where not given")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".json"), help="the JSON file"
    )
    arguments = parser.parse_args()
    trial = Trial.here(quick=arguments.quick, foundation_weights=arguments.foundation_weights)
    report = run(trial, arguments.parts, "python benchmarks/gpu_trial.py " + " ".join(sys.argv[1:]))
    arguments.output.write_text(json.dumps(asdict(report), indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(report.text())
    print(report.text())
    if not report.cuda:
        print("No CUDA device: the CPU's parts were run, nothing of a GPU was tried.", file=sys.stderr)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
