"""What has to be true of the data before the first step, whatever it is: said then, and not after a night."""

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from model.metadata import LearnedCamera
from training.data.followed import moved, points_in, shrunk
from training.data.loader import BatchLoader
from training.data.mixture import Mixture
from training.data.sequence import Sample

_log = logging.getLogger(__name__)

_BLANK = 2 / 255
"""Images of a smaller standard deviation than this show nothing; a foggy night has ten times as much."""
_LOOKED_AT = 8
"""Batches, at most."""
NEAREST_M, FARTHEST_M = 1e-3, 80.0
"""Measured depth between these counts where a run is watched."""
_MEASURED = 8
"""Frames of each data set whose measured depth is looked at, at most."""
_SAMPLES, _LEAST_SAMPLES = 24, 4
"""Of a data set whose neighbours are looked at, at most; and at least, to tell anything."""
_POINTS, _LEAST_POINTS = 240, 40
"""Of a sample: how many are followed, and how many there have to be to tell anything."""
_FOLLOWED = 0.05
"""Frames have something in common where more of the points are followed. Of five drives of KITTI, at 10, 3
and 2 Hz, at most 2 % of the frames have less in common with those beside; of two folders of numbered scenes
36 % and 47 %, as some show one road, and of photographs of different places all."""
_APART, _SOME_APART = 0.3, 0.1
"""Shares of samples without anything in common with their neighbours: refused, and said."""


def check_measured(watched: Mixture) -> None:
    """Refuse frames to watch a run by where nothing that was measured could count, for each data set.

    Raises:
        FrameError: Depth cannot be read.
        ValueError: A set has no depth, or none within the range that counts where it was looked at.
    """
    start = 0
    for length, described in zip(watched.lengths, watched.describe().splitlines(), strict=True):
        measured = [index for index in range(start, start + length) if _may_have_depth(watched, index)]
        numbers = measured[:: max(1, -(-len(measured) // _MEASURED))]
        start += length
        depths = [watched[number].depth_m for number in numbers]
        found = [depth_m[depth_m > 0] for depth_m in depths if depth_m is not None]
        metres = np.concatenate(found) if found else None
        if metres is None or not (counts := (metres > NEAREST_M) & (metres < FARTHEST_M)).any():
            raise _unmeasured(described, len(numbers), metres)
        _log.info(
            "watched   %s: of %d frames the median is %.3g m, and %.0f %% of the measured pixels count "
            "(%g to %g m)",
            described, len(numbers), np.median(metres), 100 * counts.mean(), NEAREST_M, FARTHEST_M,
        )  # fmt: skip


def _may_have_depth(dataset: Mixture, index: int) -> bool:
    """Return whether a sample has depth, as far as can be said without reading or drawing it."""
    moment = dataset.moment(index)
    return moment is None or moment.depth is not None


def _unmeasured(described: str, looked_at: int, metres: Float32[np.ndarray, " pixels"] | None) -> ValueError:
    """Return what refuses a set; `metres` are of the pixels that have depth, None: no frame has any."""
    if metres is None:
        return ValueError(
            "no frame of --validation has measured depth, so that nothing could be watched:\n"
            f"{described}\nexpected depth=scan or depth=png&depth_root=FOLDER (kitti-raw), "
            "depth=yes (kitti-odometry, cityscapes, nuscenes, dgp), depth=FOLDER (stills) or synthetic data"
        )
    said = f"has a median of {np.median(metres):.4g} m" if metres.size else "is 0, not measured, everywhere"
    return ValueError(
        f"the depth of the {looked_at} frames of --validation that were looked at {said}, so that nothing "
        f"could be watched:\n{described}\nexpected {NEAREST_M:g} to {FARTHEST_M:g} m; steps_per_m (stills) "
        "is how many of the files' numbers are a metre"
    )


def warn_of_shared(dataset: Mixture, watched: Mixture) -> None:
    """Say how many of the frames that watch a run are learned from, too."""
    learned = {place for index in range(len(dataset)) for place in _places(dataset, index)}
    shared = [
        watched.keys[index]
        for index in range(len(watched))
        if next(_places(watched, index)) in learned
    ]  # fmt: skip
    if shared:
        _log.warning(
            "%d of %d frames of --validation, such as %s, are learned from by --data too: "
            "what is measured on them says little; expected other drives",
            len(shared), len(watched), shared[0],
        )  # fmt: skip


def _places(dataset: Mixture, index: int) -> Iterator[Path | str]:
    """Yield what tells a sample's image from others, then what tells those of its views."""
    moment = dataset.moment(index)
    if moment is None:
        yield dataset.keys[index]
        return
    yield moment.frame.path.resolve()
    for view in moment.views:
        yield view.frame.path.resolve()


def learned_cameras(dataset: Mixture, insist: bool, *, views: bool) -> tuple[LearnedCamera, ...]:
    """Return the cameras that have to be learned, as they start.

    Args:
        dataset: What is learned from.
        insist: Whether there has to be one.
        views: Whether view synthesis, which alone tells of cameras, has a weight.

    Raises:
        ValueError: There is none, and there has to be.
    """
    cameras = dataset.unknown_cameras
    if insist and not cameras:
        raise ValueError(
            "intrinsics.learn is True, but every camera is known; expected learn_intrinsics=yes in a line of "
            f"--data, or --intrinsics.no-learn:\n{dataset.describe()}"
        )
    if cameras and not views:
        names = ", ".join(camera.name for camera in cameras)
        _log.warning(
            "losses.synthesis.weight is 0, and nothing else tells of cameras: %s stays as given", names
        )
        return ()
    return cameras


def check_shown(loader: BatchLoader) -> None:
    """Refuse images that show nothing, by the first batches: a network would learn nothing, without a word.

    Raises:
        ValueError: None of them shows anything.
    """
    seen: list[str] = []
    for step in range(_LOOKED_AT):
        batch = loader.photographed_at(step)
        if float(np.max(batch.image.numpy().std(axis=(1, 2, 3)))) >= _BLANK:
            return
        seen += [key for key in batch.keys if key not in seen]
    raise ValueError(
        f"all {len(seen)} frames that were looked at, such as {seen[0]}, are of one colour, so that there is "
        "nothing to learn from; expected photographs"
    )


def check_neighbours(dataset: Mixture, *, read: bool) -> None:
    """Refuse frames whose neighbours show other places: numbers of scenes that were taken for time.

    Of each data set some samples are looked at, and of those the views in time whose pose is not known.

    Args:
        dataset: What is learned from.
        read: Whether a loss asks for views at all.

    Raises:
        ValueError: Many of the samples of one have nothing in common with any of their neighbours.
    """
    start = 0
    for length in dataset.lengths if read else ():
        numbers = np.unique(np.linspace(start, start + length - 1, min(_SAMPLES, length)).round().astype(int))
        start += length
        told = [(dataset.keys[number], _share_followed(dataset[number])) for number in numbers.tolist()]
        shares = {key: share for key, share in told if share is not None}
        apart = [key for key, share in shares.items() if share < _FOLLOWED]
        if len(shares) < _LEAST_SAMPLES or len(apart) < _SOME_APART * len(shares):
            continue
        said = (
            f"{len(apart)} of {len(shares)} frames that were looked at, such as {apart[0]}, have nothing in "
            "common with those before and after them in number"
        )
        if len(apart) > _APART * len(shares):
            raise ValueError(
                f"{said}: they are no video; expected frames a shorter time apart, or offsets= (no "
                "neighbours; kind stills in place of video) where they are single photographs or pairs"
            )
        _log.warning(
            "%s: expected frames that follow one another, or offsets= where they are single photographs", said
        )


def _share_followed(sample: Sample) -> float | None:
    """Return what share of its points is found again in the view in time that has most of them.

    None where that tells nothing: there is no such view, its pose is known, or too little to see.
    """
    views = [view for view in sample.sources if view.role != "stereo" and view.source_T_target is None]
    if not views:
        return None
    images = [sample.image, *(view.image for view in views)]
    grey = [shrunk(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in images]
    points = points_in(grey[0], _POINTS)
    if len(points) < _LEAST_POINTS:
        return None
    shares = [
        float(np.isfinite(moved(grey[0], other, points)).all(axis=1).mean())
        for other in grey[1:]
        if other.shape == grey[0].shape
    ]
    return max(shares, default=None)
