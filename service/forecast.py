"""How far predicted times can be trusted: learned from how those before came true.

As TCP sets its time-outs (Jacobson and Karels, 1988): by the mean of what was measured and by its deviation,
here of the ratio between the time that a request took and the one predicted for it. It does not know what was
predicted, or from what.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.clock import Clock, MonotonicClock
from service.errors import DeadlineExceeded

_WEIGHT, _DEVIATION_WEIGHT = 1 / 8, 1 / 4
"""Of the newest measurement in the moving averages of ratio and deviation; TCP's, as is the next."""
_DEVIATIONS = 4
"""Above the mean: nearly nothing takes longer."""
_LEAST_DEVIATION = 1 / 16
"""To reckon with, however quiet it was lately: whoever shares the machine may wake at any time."""
_LARGEST = 4.0
"""What a measurement counts for at most: a machine that stood still once is not expected to do so again."""


class Forecast:
    """Says within which time nearly every request will be answered, given a prediction for it.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or MonotonicClock()
        self._ratio, self._deviation = 1.0, 0.0
        self._testing = False

    def within_s(self, predicted_s: float) -> float:
        """Return the time to reckon with; never less than was predicted."""
        margin = _DEVIATIONS * max(_LEAST_DEVIATION, self._deviation)
        return predicted_s * max(1.0, self._ratio + margin)

    @contextmanager
    def tested(self, predicted_s: float) -> Iterator[None]:
        """Compare a prediction with how long the body of the ``with`` takes to answer, or to be too late.

        One at a time: those who stand in the same queue would all tell of the same luck, and the deviation
        would be taken for none.
        """
        if self._testing:
            yield
            return
        self._testing, began_s = True, self._clock.now()
        try:
            yield
        except DeadlineExceeded:
            # How late it would have been is not known; only that the prediction was short by this at least.
            if (seconds := self._clock.now() - began_s) > predicted_s:
                self._record(predicted_s, seconds)
            raise
        else:
            self._record(predicted_s, self._clock.now() - began_s)
        finally:
            self._testing = False

    def _record(self, predicted_s: float, seconds: float) -> None:
        ratio = min(seconds / predicted_s, _LARGEST)
        self._deviation += _DEVIATION_WEIGHT * (abs(ratio - self._ratio) - self._deviation)
        self._ratio += _WEIGHT * (ratio - self._ratio)
