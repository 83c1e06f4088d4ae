"""`python -m training.hints`: write hints, the depth that frames' own views agree on, to learn from.

Training follows the photometric error downhill, and where many depths explain a pixel about as well it stays
at the first that it meets; matching looks at all of them at once. What matching is sure of can be learned
from beside the photometric error (Watson et al., "Self-Supervised Monocular Depth Hints", ICCV 2019, of
stereo pairs; frames of known poses through time are our addition). No label is asked for:

    python -m training.hints --data kitti-raw:KITTI --folder HINTS
    depth-train teacher --data 'kitti-raw:KITTI?hints=HINTS' --losses.labels.weight 1

What is there already is not matched again, so other settings want another folder.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Float32

from model.atomic import replacing
from model.commands import explain, merged
from training.data.augment import Augmentation, framing
from training.data.frames import DEPTH_PNG_STEPS_PER_M, DepthPng, FrameError, Moment
from training.data.hinted import hint_path
from training.data.layout import LayoutError, read_headers
from training.data.mixture import Mixture
from training.data.prepared import PreparedDataset
from training.data.sequence import Sample, View
from training.data.sources import open_sources
from training.hints.agreement import HintsConfig, confirmed, match
from training.hints.rectified import RectifiedConfig, is_beside, match_beside

_log = logging.getLogger(__name__)
_UNCHECKED = "unchecked"
_LOG_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class HintsCommand:
    """What to match, and where hints go."""

    data: str
    """A data set of files, as for `depth-train`; more frames by its `offsets`, as in offsets=-3,-1,1,3."""
    folder: Path
    """A PNG a frame: uint16, metres times 256, 0 where nothing is certain."""
    views: Literal["stereo", "time", "all"] = "all"
    """`stereo` knows things that move; through time they are left out, as long as neighbours are checked."""
    height: int = 192
    """In pixels, at which frames are matched; hints are brought to the network's size when they are read."""
    width: int = 640
    threads: int = 1
    matcher: Literal["auto", "sweep"] = "auto"
    """`auto`: a pair from beside by OpenCV's matcher, everything else by a plane sweep."""
    matching: HintsConfig = field(default_factory=HintsConfig)
    """Of the plane sweep."""
    rectified: RectifiedConfig = field(default_factory=RectifiedConfig)
    """Of OpenCV's matcher."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )
    command = tyro.cli(
        HintsCommand, args=merged(arguments, "--data"), prog="python -m training.hints", description=__doc__
    )
    try:
        write_hints(command)
    except (FrameError, LayoutError, ValueError) as error:
        _log.error("%s", error)
        return 1
    except OSError as error:
        _log.error("%s", explain(error))
        return 1
    return 0


def write_hints(command: HintsCommand) -> None:
    """Match every frame, then keep what its neighbours confirm, where it has neighbours of known poses.

    Raises:
        ValueError: The data is not made of files, or has no view of a known pose.
    """
    torch.set_num_threads(command.threads)
    dataset = open_sources([command.data], (command.height, command.width))
    dataset.verify()
    if command.views != "stereo" and any(dataset.moment(index) is None for index in range(len(dataset))):
        raise ValueError(
            f"{dataset.describe()}: its frames have no neighbours to check; expected --views stereo"
        )
    _match_all(command, dataset)
    _check_all(command, dataset)


def _match_all(command: HintsCommand, dataset: Mixture) -> None:
    prepared = PreparedDataset(
        dataset, height=command.height, width=command.width, max_bytes=2**30, depth=False
    )
    for index, key in enumerate(dataset.keys):
        path = hint_path(command.folder / _UNCHECKED, key)
        if not path.exists():
            sample = prepared[index]
            views = _wanted(sample, command.views)
            depth_m = np.zeros(sample.image.shape[:2], np.float32)
            if views:
                depth_m = _matched(command, sample, views)
            _write(path, depth_m)
        if (index + 1) % _LOG_EVERY == 0:
            _log.info("matched %d of %d", index + 1, len(dataset))


def _check_all(command: HintsCommand, dataset: Mixture) -> None:
    shares = []
    for index, key in enumerate(dataset.keys):
        moment = dataset.moment(index)
        path = hint_path(command.folder / _UNCHECKED, key)
        depth_m = _read(path)
        if command.views != "stereo" and moment is not None:
            depth_m = np.where(_confirmed(command, moment, depth_m), depth_m, 0)
        shares.append(float((depth_m > 0).mean()))
        _write(hint_path(command.folder, key), depth_m)
    if not any(shares):
        raise ValueError(f"{dataset.describe()}: no hint at all; expected views of known poses that move")
    _log.info("%d frames, hints for %.0f %% of their pixels", len(shares), 100 * float(np.mean(shares)))


def _matched(command: HintsCommand, sample: Sample, views: list[View]) -> Float32[np.ndarray, "height width"]:
    if command.matcher == "auto" and len(views) == 1 and is_beside(views[0]):
        return match_beside(sample.image, views[0], sample.intrinsics, command.rectified)
    return match(sample.image, views, sample.intrinsics, command.matching)


def _wanted(sample: Sample, which: str) -> list[View]:
    return [
        view
        for view in sample.sources
        if view.source_T_target is not None
        and (which == "all" or (view.role == "stereo") == (which == "stereo"))
    ]


def _confirmed(
    command: HintsCommand, moment: Moment, depth_m: Float32[np.ndarray, "height width"]
) -> np.ndarray:
    through_time = {
        number: (view.frame.key, view.source_T_target)
        for number, view in enumerate(moment.views)
        if view.role != "stereo" and view.source_T_target is not None
    }
    if not through_time:  # matched with the other camera alone: no frame of another time could confirm it
        return np.ones(depth_m.shape, bool)
    others, poses = {}, {}
    for number, (key, pose) in through_time.items():
        path = hint_path(command.folder / _UNCHECKED, key)
        if path.exists():
            others[number], poses[number] = _read(path), pose
    (header,) = read_headers([moment.frame.path])
    kept = moment.frame.rows_of(header.height)
    rows, columns = kept.stop - kept.start, header.width
    whole = framing(Augmentation(), rows=rows, columns=columns, height=command.height, width=command.width)
    intrinsics = whole.intrinsics(moment.intrinsics)
    return confirmed(depth_m, others, poses, intrinsics, command.matching.tolerance)


def _write(path: Path, depth_m: Float32[np.ndarray, "height width"]) -> None:
    steps = np.round(depth_m * DEPTH_PNG_STEPS_PER_M).astype(np.uint16)
    with replacing(path) as partial:
        partial.write_bytes(cv2.imencode(".png", steps)[1].tobytes())


def _read(path: Path) -> Float32[np.ndarray, "height width"]:
    return DepthPng(path=path).read()


if __name__ == "__main__":
    sys.exit(main())
