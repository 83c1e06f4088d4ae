"""How often the true scale lies within the uncertainty that a camera's height is answered with.

    python benchmarks/camera_height.py 'kitti-odometry:DATA?sequences=04&depth=yes&every=3'
        'synthetic:?sequences=24&frames=1&neighbours=no&stereo=no&seed=909'

The lines are as for `depth-train --data`, of frames that training never saw. Where depth is exact, the
camera's height is that of the ground in it; elsewhere `--camera-height-m` says it. The true scale is the
median of the true over the predicted depth of what is nearer than 80 m. What was measured goes to
camera_height.md beside this file.
"""

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from model.atomic import replacing
from model.ground import NoGroundError, find_ground
from model.images import to_model_batch
from model.predictor import Predictor
from service.codec.scale import GROUND_ERROR
from training.data.mixture import Mixture
from training.data.prepared import PreparedDataset
from training.data.sequence import Sample
from training.data.sources import open_sources
from training.release.publish import without_folders

_FARTHEST_M = 80.0
_PRETRAINED = Path(__file__).parents[1] / "model" / "pretrained" / "student.safetensors"


@dataclass(frozen=True, kw_only=True)
class HeightBenchmark:
    """What is measured."""

    data: tyro.conf.Positional[tuple[str, ...]]
    """Lines of data with depth."""
    camera_height_m: float = 1.65
    """Of cameras whose depth is measured; KITTI's."""
    model: Path = _PRETRAINED
    """The checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One frame."""

    error: float
    """The logarithm of the scale by height over the true one."""
    scatter: float
    """Of the ground about its plane."""


def fits(predictor: Predictor, dataset: Mixture, height_m: float) -> Iterator[Fit]:
    """Yield the frames that show ground."""
    rows, columns = predictor.config.height, predictor.config.width
    resized = PreparedDataset(dataset, height=rows, width=columns, max_bytes=0, views=False)
    for index in range(len(dataset)):
        sample = resized[index]
        if sample.depth_m is None:
            raise SystemExit(f"{sample.key} has no depth; expected depth=yes, or exact depth")
        depth = 1 / predictor.disparity(to_model_batch([sample.image], rows, columns))[0]
        counts = (sample.depth_m > 0) & (sample.depth_m < _FARTHEST_M)
        true_scale = float(np.median(sample.depth_m[counts] / depth[counts]))
        try:
            known_m = _height_m(sample) if sample.depth_is_label else height_m
            plane = find_ground(depth, *_rays(sample))
        except NoGroundError:
            continue
        yield Fit(error=math.log(known_m / plane.height / true_scale), scatter=plane.error)


def _height_m(sample: Sample) -> float:
    exact = np.where(sample.depth_m > 0, sample.depth_m, np.nan).astype(np.float32)
    return find_ground(exact, *_rays(sample)).height


def _rays(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = sample.image.shape[:2]
    matrix = sample.intrinsics
    x = (np.arange(columns) + 0.5 - matrix[0, 2]) / matrix[0, 0]
    y = (np.arange(rows) + 0.5 - matrix[1, 2]) / matrix[1, 1]
    return x.astype(np.float32), y.astype(np.float32)


def line_of(name: str, found: Sequence[Fit], of: int) -> str:
    """Return a row of the table."""
    errors = np.array([fit.error for fit in found])
    scatter = np.array([fit.scatter for fit in found])
    said = np.hypot(scatter, GROUND_ERROR)
    shares = [float((np.abs(errors) < bound).mean()) for bound in (scatter, said, 2 * said)]
    off = f"{np.median(errors):+.3f} | {np.quantile(np.abs(errors), 0.683):.3f}"
    return (
        f"| {name} | {len(found)} of {of} | {off} | "
        f"{np.median(scatter):.3f} | {np.median(said):.3f} | "
        + " | ".join(f"{one:.0%}" for one in shares)
        + " |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    command = tyro.cli(HeightBenchmark, args=arguments, description=__doc__)
    predictor = Predictor.from_checkpoint(command.model)
    lines, everything, of = [], [], 0
    for line in command.data:
        dataset = open_sources([line])
        found = list(fits(predictor, dataset, command.camera_height_m))
        lines.append(line_of(line.partition(":")[0], found, len(dataset)))
        everything, of = everything + found, of + len(dataset)
    asked = without_folders(shlex.join(arguments if arguments is not None else sys.argv[1:]))
    text = "\n".join(
        [
            "# The uncertainty of a camera's height",
            "",
            f"    python benchmarks/camera_height.py {asked}",
            "",
            f"Of {command.model.name}. Error: the logarithm of the scale by the camera's height over the "
            "true one. 68 %: of the frames err by less. The uncertainty joins the ground's scatter with "
            f"{GROUND_ERROR:g}.",
            "",
            "| frames | that show ground | median error | 68 % | scatter | uncertainty | within scatter "
            "| within uncertainty | within two |",
            "| --- " * 9 + "|",
            *lines,
            line_of("all", everything, of),
        ]
    )
    with replacing(Path(__file__).with_suffix(".md")) as partial:
        partial.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
