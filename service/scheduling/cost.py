"""How long work takes: a curve known beforehand, corrected by everything that was measured since.

One learner serves batches (by size), codec jobs (by megapixels) and whole requests (by their prediction).
"""

from bisect import bisect_left
from collections.abc import Mapping

_WEIGHT, _DEVIATION_WEIGHT = 1 / 8, 1 / 4
"""Of the newest measurement in the moving averages of ratio and deviation, as TCP weighs round-trip times
(Jacobson and Karels, 1988); so are the deviations below."""
_DEVIATIONS = 4
"""Above the mean: nearly nothing takes longer."""
_LEAST_DEVIATION = 1 / 16
"""However quiet it was lately: another process on the machine may wake up at any time."""
_LARGEST_JUMP = 4.0
"""One measurement counts as at most so many times what was expected: a machine that stood still once is not
expected to do so again."""
_NEAR_BEST = 1.05
"""A batch size is good enough when an image costs at most this much more than at the best size."""


class Cost:
    """Predicts seconds from an amount of work.

    The curve gives the shape; one factor, the moving average of measured over predicted, follows the load.

    Args:
        curve_s: Seconds by amount, at least one: measured on an idle machine, or a prior.
        stepwise: Whether an amount between two of the curve costs as much as the larger: it is padded.
    """

    def __init__(self, curve_s: Mapping[float, float], *, stepwise: bool = False) -> None:
        if not curve_s or min(curve_s) < 0 or max(curve_s) <= 0 or not min(curve_s.values()) > 0:
            raise ValueError(f"the curve is {dict(curve_s)}; expected positive seconds by amount")
        self._curve_s = dict(sorted(curve_s.items()))
        self._amounts, self._seconds = list(self._curve_s), list(self._curve_s.values())
        self._stepwise = stepwise
        self._ratio, self._deviation = 1.0, 0.0

    def record(self, amount: float, seconds: float) -> None:
        """Learn from work that was done."""
        ratio = min(seconds / self.usual_s(amount), _LARGEST_JUMP * self._ratio)
        self._deviation += _DEVIATION_WEIGHT * (abs(ratio - self._ratio) - self._deviation)
        self._ratio += _WEIGHT * (ratio - self._ratio)

    def estimate_s(self, amount: float) -> float:
        """Return the seconds that this amount takes on average."""
        return self._ratio * self.usual_s(amount)

    def within_s(self, amount: float) -> float:
        """Return the seconds within which nearly all such work is done; always more than the curve."""
        margin = _DEVIATIONS * max(_LEAST_DEVIATION, self._deviation)
        return (max(1.0, self._ratio) + margin) * self.usual_s(amount)

    def best_amount(self) -> float:
        """Return the smallest amount of the curve at which a unit costs nearly as little as at any."""
        each_s = {amount: seconds / amount for amount, seconds in self._curve_s.items() if amount}
        best_s = min(each_s.values())
        return min(amount for amount, seconds in each_s.items() if seconds <= _NEAR_BEST * best_s)

    def usual_s(self, amount: float) -> float:
        """Return the curve's seconds: below it, work costs its least, and above in proportion."""
        amounts, seconds = self._amounts, self._seconds
        place = bisect_left(amounts, amount)
        if place == 0:
            return seconds[0]
        if place == len(amounts):
            return seconds[-1] * amount / amounts[-1]
        low, high = amounts[place - 1], amounts[place]
        share = 1.0 if self._stepwise else (amount - low) / (high - low)
        return seconds[place - 1] + share * (seconds[place] - seconds[place - 1])
