"""Whether two candidates differ on the same frames, or whether other frames could have said the opposite."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from training.judge import metrics
from training.judge.bootstrap import Interval, intervals, set_weights
from training.judge.report import Report


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number of a candidate minus that of another, over the same frames."""

    metric: str
    """Its name in :data:`training.judge.metrics.NAMES`."""
    mean: float
    interval: Interval

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0


def differences(report: Report, other: Report) -> tuple[Difference, ...]:
    """Compare two candidates by a paired bootstrap: both are drawn on the same frames, or blocks of them.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 8: what two candidates find hard
    alike falls out of the difference, so that its interval is narrower than that of either mean.

    Raises:
        ValueError: The reports are not of the same frames and alignment.
    """
    keys, others = ([score.key for score in one.scores] for one in (report, other))
    if keys != others or report.alignment != other.alignment:
        raise ValueError("the two reports are of other frames or alignments; expected the same for a pair")
    lengths = report.lengths or (report.images,)
    apart = _table(report) - _table(other)
    means = (apart * set_weights(lengths)[:, None]).mean(axis=0)
    return tuple(
        Difference(metric=name, mean=float(mean), interval=interval)
        for name, mean, interval in zip(
            metrics.NAMES, means, intervals(apart, report.bootstrap, lengths), strict=True
        )
    )


def difference_lines(report: Report, apart: Sequence[Difference]) -> list[str]:
    """Say each difference in a line, with whether it is more than chance."""
    percent = f"{100 * report.bootstrap.confidence:g} %"
    return [
        f"{one.metric:<10}{one.mean:+.4f}  ({percent}: {one.interval.low:+.4f} to {one.interval.high:+.4f})  "
        + ("told apart" if one.told_apart else "not told apart by these frames")
        for one in apart
    ]


def difference_summary(apart: Sequence[Difference]) -> dict[str, Any]:
    """Return plain JSON types."""
    return {
        one.metric: {"mean": one.mean, "interval": [one.interval.low, one.interval.high]} for one in apart
    }


def _table(report: Report) -> np.ndarray:
    return np.array([astuple(score.metrics) for score in report.scores])
