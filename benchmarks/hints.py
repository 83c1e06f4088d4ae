"""The two matchers of stereo hints on the same pairs, in turn: error, cover and time.

    python benchmarks/hints.py
    python benchmarks/hints.py --data 'kitti-raw:KITTI?depth=png&depth_root=PNGS&depth_kind=velodyne_raw'

By default they match pairs of the synthetic world, whose depth is exact. Errors are of the pixels that have
both a hint and a measured depth up to 80 m; times are of the processor, one thread. What was measured goes to
hints.md beside this file.
"""

import datetime
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro

from benchmarks.machine import processor
from model.atomic import replacing
from training.data.prepared import PreparedDataset
from training.data.sequence import Sample
from training.multi_view.hints import HintsConfig, match
from training.multi_view.rectified import RectifiedConfig, is_beside, match_beside
from training.sources import open_sources

_FARTHEST_M = 80.0
_OUTLIER = 0.25


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is matched."""

    data: tuple[str, ...] = ("synthetic:?sequences=12&frames=1&seed=700",)
    """Each judged by itself, by its measured depth."""
    frames: int = 12
    """Of each, spread over all of it."""
    height: int = 192
    width: int = 640
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """What else is running; found out by itself."""
    output: Path = field(default_factory=lambda: Path(__file__).with_suffix(".md"))


Matcher = Callable[[Sample], np.ndarray]


def matchers() -> Mapping[str, Matcher]:
    """Return what is compared, by what the report calls it."""

    def swept(sample: Sample) -> np.ndarray:
        return match(sample.image, _beside(sample), sample.intrinsics, HintsConfig())

    def rectified(sample: Sample) -> np.ndarray:
        return match_beside(sample.image, _beside(sample)[0], sample.intrinsics, RectifiedConfig())

    return {"plane sweep": swept, "OpenCV's semi-global matching": rectified}


def measure(command: Command, line: str) -> dict[str, np.ndarray]:
    """Return each matcher's mean error, median error, outliers, cover and seconds, means over frames."""
    prepared = PreparedDataset(
        open_sources([line]), height=command.height, width=command.width, max_bytes=0, depth=True
    )
    chosen = np.unique(np.linspace(0, len(prepared) - 1, command.frames).astype(int))
    figures: dict[str, list[tuple[float, ...]]] = {}
    for index in chosen:
        sample = prepared[int(index)]
        if not _beside(sample) or sample.depth_m is None:
            continue
        measured = (sample.depth_m > 0) & (sample.depth_m < _FARTHEST_M)
        for name, matcher in matchers().items():
            started = time.process_time()
            hint_m = matcher(sample)
            seconds = time.process_time() - started
            both = measured & (hint_m > 0)
            error = np.abs(hint_m - sample.depth_m)[both] / sample.depth_m[both]
            figures.setdefault(name, []).append(
                (
                    float(error.mean()),
                    float(np.median(error)),
                    float((error > _OUTLIER).mean()),
                    float(both.sum() / measured.sum()),
                    seconds,
                )
            )
    if not figures:
        raise SystemExit(f"{line}: no frame has a view from beside and depth; expected stereo and depth")
    return {name: np.mean(rows, axis=0) for name, rows in figures.items()}


def report(command: Command, measured: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "# Hints of stereo pairs, by two matchers"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`."
    yield ""
    yield f"- {processor()}, one thread, OpenCV {cv2.__version__}; load average before: {command.load:.1f}"
    yield f"- {command.width}x{command.height}, {command.frames} frames of each; defaults of both"
    yield "- outliers are off by a quarter or more; cover is of the measured pixels"
    for line, figures in measured.items():
        slowest = max(row[-1] for row in figures.values())
        yield ""
        yield f"## {open_sources([line]).describe().removeprefix('100% ')}"
        yield ""
        yield "| matcher | AbsRel | median error | outliers | cover | time a frame |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for name, (error, median, outliers, cover, seconds) in figures.items():
            yield (
                f"| {name} | {error:.3f} | {median:.1%} | {outliers:.1%} | {cover:.0%} "
                f"| {seconds:.2f} s, 1/{slowest / seconds:.0f} |"
            )


def _beside(sample: Sample) -> list:
    return [view for view in sample.sources if view.role == "stereo" and is_beside(view)]


def main() -> None:
    """Run the command line."""
    command = tyro.cli(Command, description=__doc__)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measured = {line: measure(command, line) for line in command.data}
    text = "\n".join(report(command, measured)) + "\n"
    with replacing(command.output) as draft:
        draft.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
