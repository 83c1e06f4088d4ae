"""Points that are followed from one photograph of a scene to another.

By the method of Lucas and Kanade in pyramids; a point counts where the way back leads to where it began.
"""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

_WIDTH = 480
"""Images are followed at no more columns than these."""
_RETURN_PX = 0.5
"""How far from its beginning a point may come back."""

Grey = UInt8[np.ndarray, "rows columns"]
Points = Float64[np.ndarray, "points 2"]


def scale_of(image: Grey) -> float:
    """Return by what an image is scaled before points are followed through it."""
    return min(1.0, _WIDTH / int(image.shape[1]))


def shrunk(image: Grey) -> Grey:
    """Return an image at the size at which points are followed."""
    scale = scale_of(image)
    small: Grey = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small


def points_in(image: Grey, most: int, shown: Bool[np.ndarray, "rows columns"] | None = None) -> Points:
    """Return corners that can be followed, none where there are none.

    Args:
        image: Of the size at which they are followed.
        most: How many.
        shown: False where none is wanted; None: nowhere.
    """
    mask = None if shown is None else shown.astype(np.uint8)
    found = cv2.goodFeaturesToTrack(image, most, 0.01, image.shape[1] / 40, mask=mask)
    return np.empty((0, 2)) if found is None else np.asarray(found, np.float64)[:, 0]


def moved(before: Grey, after: Grey, points: Points) -> Points:
    """Return where points went; NaN where they do not come back to where they were."""
    known = np.isfinite(points).all(axis=1)
    gone = np.full_like(points, np.nan)
    if not known.any():
        return gone
    start = points[known].astype(np.float32)[:, None]
    options: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 4}
    there, found, _ = map(np.asarray, cv2.calcOpticalFlowPyrLK(before, after, start, start.copy(), **options))
    back, returned, _ = map(
        np.asarray, cv2.calcOpticalFlowPyrLK(after, before, there, there.copy(), **options)
    )
    good = found[:, 0].astype(bool) & returned[:, 0].astype(bool)
    good &= np.linalg.norm((back - start)[:, 0], axis=1) < _RETURN_PX
    gone[known] = np.where(good[:, None], there[:, 0], np.nan)
    return gone
