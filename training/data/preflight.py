"""What has to be true of the data before the first step, whatever it is: said then, and not after a night."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model.metadata import LearnedCamera
from training.data.loader import BatchLoader
from training.data.mixture import Mixture

_log = logging.getLogger(__name__)

_BLANK = 2 / 255
"""Images of a smaller standard deviation than this show nothing; a foggy night has ten times as much."""
_LOOKED_AT = 8
"""Batches, at most."""


def check_measured(watched: Mixture) -> None:
    """Refuse frames to watch a run by of which none was measured.

    Raises:
        ValueError: None has depth.
    """
    if not watched.seems_measured():
        raise ValueError(
            "no frame of --validation has measured depth, so that nothing could be watched:\n"
            f"{watched.describe()}\nexpected depth=scan or depth=png&depth_root=FOLDER (kitti-raw), "
            "depth=yes (kitti-odometry, cityscapes, nuscenes, dgp), depth=FOLDER (stills) or synthetic data"
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
