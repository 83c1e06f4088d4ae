"""Measure every preset and write presets.md: its size, multiplications, and latency on every backend.

    python benchmarks/presets.py

Backends take turns, and the fastest of their rounds counts, because whatever else the machine does only ever
adds. On a machine that others use meanwhile, `--threads 1 --clock processor` counts processor time, which is
what one idle core would need. Weights are random: latency does not depend on them. Agreement does, so
`depth-export` says it of each checkpoint.
"""

import argparse
import datetime
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import processor
from model.atomic import replacing
from model.config import PRESETS, preset
from model.export import Uint8Network, export_onnx, export_openvino
from model.exported import ExportedNetwork, describe
from model.metadata import CheckpointMetadata
from model.network import StudentNet, TeacherNet, build

SIZES = ((192, 640), (320, 1024))
BACKENDS = ("torch eager fp32", "ONNX Runtime fp32", "OpenVINO fp32", "OpenVINO bf16")

Predict = Callable[[np.ndarray], object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One preset at one size."""

    name: str
    height: int
    width: int
    parameters: int
    multiplications: float
    """Multiply-accumulates for one image."""
    latency_s: dict[int, list[float]]
    """Seconds for one image, by batch size, in the order of BACKENDS."""


def count_multiplications(network: torch.nn.Module, height: int, width: int) -> float:
    """Count the multiply-accumulates of convolutions, matrix products and attention for one image."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width))
    return float(counter.get_total_flops()) / 2


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def take_turns(
    predictors: list[Predict], batch: np.ndarray, rounds: int, clock: Callable[[], float]
) -> list[float]:
    """Return the seconds an image in the fastest round of each, after one to warm up."""
    taken: list[list[float]] = [[] for _ in predictors]
    for _ in range(rounds + 1):
        for predict, times in zip(predictors, taken, strict=True):
            start = clock()
            predict(batch)
            times.append((clock() - start) / len(batch))
    return [min(times[1:]) for times in taken]


def measure(
    network: TeacherNet | StudentNet, height: int, width: int, arguments: argparse.Namespace, folder: Path
) -> Row:
    """Export one network at one size, and measure it on every backend."""
    deployed = network.deployed(height=height, width=width)
    eager = Uint8Network(deployed)
    description = describe(
        CheckpointMetadata(config=network.config), height=height, width=width, uint8_input=True
    )
    ir, onnx = folder / "network.xml", folder / "network.onnx"
    export_openvino(network, ir, description)
    export_onnx(network, onnx, description)

    def run_eager(batch: np.ndarray) -> object:
        with torch.inference_mode():
            return eager(torch.from_numpy(batch))

    predictors: list[Predict] = [
        run_eager,
        ExportedNetwork(onnx, threads=arguments.threads).disparity,
        ExportedNetwork(ir, threads=arguments.threads).disparity,
        ExportedNetwork(ir, threads=arguments.threads, precision="bfloat16").disparity,
    ]
    generator = np.random.default_rng(0)
    latency_s = {}
    for size in arguments.batches:
        batch = generator.integers(0, 256, (size, height, width, 3), np.uint8)
        latency_s[size] = take_turns(predictors, batch, arguments.rounds, CLOCKS[arguments.clock])
    return Row(
        name=network.config.name,
        height=height,
        width=width,
        parameters=sum(parameter.numel() for parameter in deployed.parameters()),
        multiplications=count_multiplications(deployed, height, width),
        latency_s=latency_s,
    )


def report(rows: list[Row], arguments: argparse.Namespace, load: float) -> Iterator[str]:
    """Yield the lines of presets.md."""
    yield "# Presets: size, cost and latency"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`."
    yield ""
    yield f"- {processor()}, {os.cpu_count()} cores; every backend had {arguments.threads} thread(s)"
    yield f"- load average before: {load:.1f}; where it is not near 0, others were using the cores too"
    if arguments.clock == "processor":
        yield "- time is processor time: with one thread, what an idle core would need"
    yield (
        f"- torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
        f"OpenVINO {openvino.get_version().split('-')[0]}"
    )
    yield "- as deployed: no train-only heads, a teacher with its foundation model; uint8 in, disparity out"
    yield f"- milliseconds for one image in the fastest of {arguments.rounds} rounds; the backends take turns"
    yield "- in brackets: how many times faster than eager in the same run"
    yield ""
    yield "| preset | size | M parameters | GMAC | batch | " + " | ".join(BACKENDS) + " |"
    yield "| --- " * (5 + len(BACKENDS)) + "|"
    for row in rows:
        for batch, times in row.latency_s.items():
            cells = [f"{times[0] * 1e3:.1f}"]
            cells += [f"{taken * 1e3:.1f} ({times[0] / taken:.1f}x)" for taken in times[1:]]
            yield (
                f"| {row.name} | {row.width}x{row.height} | {row.parameters / 1e6:.2f} "
                f"| {row.multiplications / 1e9:.2f} | {batch} | " + " | ".join(cells) + " |"
            )


def main() -> None:
    """Measure all presets and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: only with --threads 1")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    if arguments.clock == "processor" and arguments.threads != 1:
        parser.error(f"--clock processor needs --threads 1, not {arguments.threads}")
    torch.set_num_threads(arguments.threads)
    load, rows = os.getloadavg()[0], []
    for name in arguments.presets:
        network = build(preset(name), foundation_weights="random", backbone_weights="random").eval()
        for height, width in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(network, height, width, arguments, Path(folder)))
            print(rows[-1], flush=True)
            # After every row, so that a run cut short leaves what it measured.
            with replacing(arguments.output) as partial:
                partial.write_text("\n".join(report(rows, arguments, load)) + "\n")


if __name__ == "__main__":
    main()
