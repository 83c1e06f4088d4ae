"""How long a batch takes: measured at warm-up, corrected by every batch since.

It does not know what is in a batch, or what runs it.
"""

from collections.abc import Mapping
from itertools import pairwise

_WEIGHT = 0.1
"""Of the newest batch in the moving average: twenty batches make a change of load known."""
_NEAR_BEST = 1.05
"""A batch size is good enough when an image costs at most this much more than at the best size."""


class BatchCost:
    """Predicts the seconds of a batch from its size.

    A curve measured on an idle machine gives the shape; one factor, the moving average of measured over
    predicted, follows the load.

    Args:
        curve_s: Seconds by batch size; at least one.
    """

    def __init__(self, curve_s: Mapping[int, float]) -> None:
        if not curve_s or min(curve_s) < 1 or not min(curve_s.values()) > 0:
            raise ValueError(f"the curve is {dict(curve_s)}; expected positive seconds by batch size")
        self._curve_s = dict(sorted(curve_s.items()))
        self._load = 1.0

    def record(self, size: int, seconds: float) -> None:
        """Learn from a batch that was run."""
        self._load += _WEIGHT * (seconds / self._idle_s(size) - self._load)

    def estimate_s(self, size: int) -> float:
        """Return the seconds that a batch of this size will take; 0 for none."""
        return self._load * self._idle_s(size) if size else 0.0

    def best_size(self) -> int:
        """Return the smallest measured size at which an image costs nearly as little as at any."""
        each_s = {size: seconds / size for size, seconds in self._curve_s.items()}
        return min(size for size, seconds in each_s.items() if seconds <= _NEAR_BEST * min(each_s.values()))

    def _idle_s(self, size: int) -> float:
        """Interpolate; beyond the curve's ends, a batch below costs the least and one above in proportion."""
        sizes = list(self._curve_s)
        if size <= sizes[0]:
            return self._curve_s[sizes[0]]
        for low, high in pairwise(sizes):
            if size <= high:
                share = (size - low) / (high - low)
                return self._curve_s[low] + share * (self._curve_s[high] - self._curve_s[low])
        return self._curve_s[sizes[-1]] * size / sizes[-1]
