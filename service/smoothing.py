"""Hold a video's scale steady: damp what the network's sense of size does from one frame to the next.

It does not know streams, doors or units; it sees one depth map after another.
"""

import math

import numpy as np
from jaxtyping import Float32

_ROWS = 48
_COLUMNS = 96
"""The grid that frames are compared on: 4,608 points settle a median to well under 1 %."""
_CUT_SHIFT = math.log(1.6)
"""A jump of the whole scene by more than this is another scene, not flicker."""
_CUT_SPREAD = 0.25
"""Nor is it the same scene when half of its points moved by more than this beside the shift, in log depth."""


class ScaleSmoother:
    """Says by what each frame's depth should be multiplied, given the frames before it.

    The median change of log depth between two frames is taken for a change of scale. What is passed on is
    the scale's exponential moving average, so flicker is damped and slow change follows.

    Args:
        strength: Share of the old scale that a frame keeps, from 0 (off) to below 1.
    """

    def __init__(self, strength: float) -> None:
        if not 0.0 <= strength < 1.0:
            raise ValueError(f"scale smoothing is {strength}; expected at least 0 and less than 1")
        self._strength = strength
        self._previous: Float32[np.ndarray, "rows columns"] | None = None
        self._offset = 0.0

    def factor(self, depth: Float32[np.ndarray, "height width"]) -> float:
        """Answer the next frame's factor."""
        log_depth = _sample(depth)
        previous, self._previous = self._previous, log_depth
        if previous is None or previous.shape != log_depth.shape:
            self._offset = 0.0
            return 1.0
        change = log_depth - previous
        change = change[np.isfinite(change)]
        if change.size == 0:
            self._offset = 0.0
            return 1.0
        shift = float(np.median(change))
        spread = float(np.median(np.abs(change - shift)))
        if abs(shift) > _CUT_SHIFT or spread > _CUT_SPREAD:
            self._offset = 0.0
            return 1.0
        self._offset = self._strength * (self._offset - shift)
        return math.exp(self._offset)


def _sample(depth: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "rows columns"]:
    """Log depth on a coarse grid, NaN where there is none."""
    height, width = depth.shape
    grid = depth[:: max(1, height // _ROWS), :: max(1, width // _COLUMNS)]
    valid = np.isfinite(grid) & (grid > 0)
    return np.where(valid, np.log(np.where(valid, grid, 1.0)), np.nan).astype(np.float32)
