"""Matchers of stereo hints on the same pairs, in turn: error, cover and time, at two sizes of the images.

    python benchmarks/hints.py
    python benchmarks/hints.py --data 'kitti-raw:KITTI?depth=png&depth_root=PNGS&depth_kind=velodyne_raw'

By default they match pairs of the synthetic world, whose depth is exact. Hints are judged at 640x192, as the
network meets them, whatever size they were matched at. Errors are of the pixels that have both a hint and a
measured depth up to 80 m; times are of the processor, one thread. What was measured goes to hints.md beside
this file.
"""

import datetime
import itertools
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
from training.data.augment import resize_depth
from training.data.prepared import PreparedDataset
from training.data.sequence import Sample, View
from training.data.sources import open_sources
from training.hints.agreement import HintsConfig, match
from training.hints.rectified import RectifiedConfig, is_beside, match_beside

_FARTHEST_M = 80.0
_OUTLIER = 0.25
_SCALES = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is matched."""

    data: tuple[str, ...] = ("synthetic:?sequences=12&frames=1&seed=700&height=384&width=1280&neighbours=no",)
    """Each judged by itself, by its measured depth."""
    frames: int = 12
    """Of each, spread over all of it."""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """What else is running; found out by itself."""
    output: Path = field(default_factory=lambda: Path(__file__).with_suffix(".md"))


Matcher = Callable[[Sample], np.ndarray]
HEIGHT, WIDTH = 192, 640
"""In pixels, of the network; images are matched at this size and at twice as much."""


def matchers() -> Mapping[str, Matcher]:
    """Return what is compared, by what the report calls it."""

    def swept(sample: Sample) -> np.ndarray:
        return match(sample.image, _beside(sample), sample.intrinsics, HintsConfig())

    def rectified(config: RectifiedConfig) -> Matcher:
        return lambda sample: match_beside(sample.image, _beside(sample)[0], sample.intrinsics, config)

    return {
        "plane sweep": swept,
        "OpenCV's semi-global matching, one camera asked": rectified(RectifiedConfig(apart_px=None)),
        "OpenCV's semi-global matching, both": rectified(RectifiedConfig()),
    }


def measure(command: Command, line: str) -> dict[tuple[str, int], np.ndarray]:
    """Return mean error, median error, outliers, cover and seconds by matcher and scale, frames' means."""
    dataset = open_sources([line])
    sizes = [
        PreparedDataset(dataset, height=scale * HEIGHT, width=scale * WIDTH, max_bytes=0, depth=scale == 1)
        for scale in _SCALES
    ]
    chosen = np.unique(np.linspace(0, len(dataset) - 1, command.frames).astype(int))
    figures: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for index in chosen:
        samples = [prepared[int(index)] for prepared in sizes]
        truth_m = samples[0].depth_m
        if not _beside(samples[0]) or truth_m is None:
            continue
        measured = (truth_m > 0) & (truth_m < _FARTHEST_M)
        for (name, matcher), (scale, sample) in itertools.product(
            matchers().items(), zip(_SCALES, samples, strict=True)
        ):
            started = time.process_time()
            hint_m = matcher(sample)
            seconds = time.process_time() - started
            hint_m = resize_depth(hint_m, HEIGHT, WIDTH)
            both = measured & (hint_m > 0)
            error = np.abs(hint_m - truth_m)[both] / truth_m[both]
            figures.setdefault((name, scale), []).append(
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
    return {case: np.mean(rows, axis=0) for case, rows in figures.items()}


def report(command: Command, measured: Mapping[str, Mapping[tuple[str, int], np.ndarray]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "# Hints of stereo pairs, by matcher and size"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`."
    yield ""
    yield f"- {processor()}, one thread, OpenCV {cv2.__version__}; load average before: {command.load:.1f}"
    yield f"- {command.frames} frames of each, judged at {WIDTH}x{HEIGHT}; defaults but for what is named"
    yield "- outliers are off by a quarter or more; cover is of the measured pixels"
    for line, figures in measured.items():
        yield ""
        yield f"## {open_sources([line]).describe().removeprefix('100% ')}"
        yield ""
        yield "| matcher | matched at | AbsRel | median error | outliers | cover | time a frame |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for (name, scale), (error, median, outliers, cover, seconds) in figures.items():
            yield (
                f"| {name} | {scale * WIDTH}x{scale * HEIGHT} | {error:.3f} | {median:.1%} | {outliers:.1%} "
                f"| {cover:.0%} | {seconds:.2f} s |"
            )


def _beside(sample: Sample) -> list[View]:
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
