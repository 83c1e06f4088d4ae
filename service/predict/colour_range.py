"""The range of a video's colours: it follows the scene slowly, so that the picture does not flicker."""

import math

import numpy as np
from jaxtyping import Float32

from service.contract.request import Colour

_EDGE = 0.01
_STEP = 4
"""As in previews of single photographs: the share of pixels left out at each end, and every fourth counts."""
_KEPT = 0.95
"""Of the old range, by each frame: at 30 frames a second most of a change is followed within a second."""
_LEAST_RATIO = 1.05
"""Of far to near, where a scene has next to no depth."""


class ColourRange:
    """Moves with the depth of one frame after another, unless its ends were given."""

    def __init__(self, colour: Colour) -> None:
        self._given = colour
        self._log_near = self._log_far = math.nan

    def of(self, depth: Float32[np.ndarray, "height width"]) -> Colour:
        """Return the colours of the next frame."""
        seen = depth[::_STEP, ::_STEP]
        if (seen := seen[np.isfinite(seen)]).size:
            ends = np.log(np.quantile(seen, (_EDGE, 1 - _EDGE)))
            self._log_near = _moved(self._log_near, float(ends[0]))
            self._log_far = _moved(self._log_far, float(ends[1]))
        elif math.isnan(self._log_near):  # nothing is to be coloured yet
            return Colour(map=self._given.map, near=1.0, far=_LEAST_RATIO)
        given = self._given
        near = math.exp(self._log_near) if given.near is None else given.near
        far = math.exp(self._log_far) if given.far is None else given.far
        if far < near * _LEAST_RATIO:
            if given.far is None:
                far = near * _LEAST_RATIO
            elif given.near is None:
                near = far / _LEAST_RATIO
        return Colour(map=given.map, near=near, far=far)


def _moved(old: float, new: float) -> float:
    return new if math.isnan(old) else _KEPT * old + (1 - _KEPT) * new
