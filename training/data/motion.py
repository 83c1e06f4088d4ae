"""Which frames of a video to learn from: those that show something new, and which of them follow one another.

By thumbnails alone.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from training.data.frames import stretched
from training.data.layout import Findings

_CHANGED_LEVELS = 8
"""Grey levels by which a pixel of a thumbnail must differ to count as changed; JPEG noise stays below."""
_BLANK_LEVELS = 2.0
"""A thumbnail of a smaller standard deviation shows nothing; a foggy night has ten times as much."""
_CUT_LEVELS, _CUT_RATIO = 20.0, 2.0
"""A cut changes coarse images by so many levels on average, and so many times as much as the change before
it and the one after. In 1,238 frames of KITTI at 10 and at 3 Hz none is 1.5 times as large as those beside
it; of joins of two of these drives, 19 of 20 are more than 2.4 times as large."""
_COARSE = (32, 18)
"""Columns and rows at which a moving camera changes little, and a cut as much as ever."""

Thumbnail = UInt8[np.ndarray, "rows columns"]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What is left of a video's frames."""

    kept: tuple[int, ...]
    """Numbers of the frames that differ from the one kept before."""
    after_cut: frozenset[int]
    """Those of them that do not follow on the one kept before, for all that can be seen."""
    blank: int
    """How many frames of one colour were left out."""


def moving(
    paths: Sequence[Path], min_change: float, findings: Findings, levels: tuple[int, int] | None = None
) -> Motion:
    """Leave out frames that stand still or show nothing, and find cuts.

    Without motion there is nothing to learn from, and a car that waits teaches that everything is far away.

    Args:
        paths: The frames in their order.
        min_change: Share of its pixels by which a frame has to differ from the one kept before; 0 keeps all.
        findings: Told of frames that cannot be decoded.
        levels: What is black and white in frames of 16 bits; None: they have 8.
    """
    kept: list[int] = []
    coarse: list[Thumbnail] = []
    last: Thumbnail | None = None
    blank = 0
    with ThreadPoolExecutor(2) as pool:
        for number, thumbnail in enumerate(pool.map(partial(_thumbnail, levels=levels), paths, chunksize=16)):
            if thumbnail is None:
                findings.add(paths[number], "cannot be decoded")
            elif float(thumbnail.std()) < _BLANK_LEVELS:
                blank += 1
            elif last is None or _change(last, thumbnail) >= min_change:
                kept.append(number)
                coarse.append(cv2.resize(thumbnail, _COARSE, interpolation=cv2.INTER_AREA))
                last = thumbnail
    return Motion(kept=tuple(kept), after_cut=frozenset(kept[place] for place in cuts(coarse)), blank=blank)


def cuts(coarse: Sequence[Thumbnail]) -> list[int]:
    """Return the places of images that no camera's motion leads to from the one before."""
    if len(coarse) < 3:
        return []
    images = np.stack(coarse).astype(np.float32)
    changes = np.abs(np.diff(images, axis=0)).mean(axis=(1, 2))
    around = np.concatenate([[0.0], changes, [0.0]])
    beside = np.maximum(around[:-2], around[2:])
    return [
        int(place) + 1 for place in np.flatnonzero((changes > _CUT_LEVELS) & (changes > _CUT_RATIO * beside))
    ]


def _thumbnail(path: Path, levels: tuple[int, int] | None = None) -> Thumbnail | None:
    """A grey image of an eighth of the size: quick to decode, and without most of the noise."""
    thumbnail: Thumbnail | None
    if levels is None:
        thumbnail = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return thumbnail
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if image is None:
        return None
    size = (max(1, image.shape[1] // 8), max(1, image.shape[0] // 8))
    thumbnail = stretched(cv2.resize(image, size, interpolation=cv2.INTER_AREA), levels)
    return thumbnail


def _change(before: Thumbnail, after: Thumbnail) -> float:
    """The share of pixels that changed; 1 where the size did."""
    if before.shape != after.shape:
        return 1.0
    return float(np.mean(cv2.absdiff(before, after) > _CHANGED_LEVELS))
