"""What an evaluation came to, with everything that has to stand beside a number: as text, JSON and CSV."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.metadata import Accuracy
from training.judge import metrics
from training.judge.alignment import SENTENCES, Alignment
from training.judge.bootstrap import BootstrapConfig, Interval, intervals
from training.judge.comparison import FrameScore
from training.judge.metrics import Metrics
from training.judge.protocols.protocol import JudgingProtocol

_HEADINGS = ("AbsRel", "SqRel", "RMSE", "RMSElog", "d<1.25", "d<1.25^2", "d<1.25^3")


@dataclass(frozen=True, kw_only=True)
class ScaleStatistics:
    """True over predicted median depth over all frames: how far predicted metres are off."""

    median: float
    """Depth has to be multiplied by this; 1 is metric as predicted."""
    spread: float
    """Standard deviation of ratio / median, as the field reports it."""
    low: float
    """The 5th percentile."""
    high: float
    """The 95th percentile."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One protocol and one alignment over all frames."""

    protocol: str
    sentence: str
    """What the protocol does."""
    published_images: int | None
    """How many the published tables average over."""
    alignment: Alignment
    flip: bool
    """Whether predictions were averaged with those of mirrored images."""
    metres_per_unit: float | None
    mean: Metrics
    intervals: Mapping[str, Interval]
    """Of each number of :attr:`mean`, by its name."""
    bootstrap: BootstrapConfig
    scale: ScaleStatistics
    scores: tuple[FrameScore, ...]
    lengths: tuple[int, ...] = ()
    """How many frames each set has, where there are several; the mean is that of the sets' means."""

    @property
    def images(self) -> int:
        """How many were judged."""
        return len(self.scores)

    @property
    def counted(self) -> float:
        """The share of the measured pixels that was compared."""
        return sum(score.pixels for score in self.scores) / sum(score.measured for score in self.scores)

    def conditions(self) -> str:
        """Say in a line what the numbers were measured under."""
        published = ""
        if self.published_images not in (None, self.images):
            published = f" (published: {self.published_images}, so not comparable with the tables)"
        flip = ", averaged with mirrored images" if self.flip else ", no flip averaging"
        sets = f", mean of {len(self.lengths)} sets" if len(self.lengths) > 1 else ""
        return (
            f"{self.sentence}; {_images(self.images)}{sets}{published}; {SENTENCES[self.alignment]}{flip}; "
            f"{100 * self.counted:.0f} % of the measured pixels counted"
        )

    def lines(self) -> list[str]:
        """Return the report as text."""
        bounds = [self.intervals[name] for name in metrics.NAMES]
        percent = f"{100 * self.bootstrap.confidence:g} %"
        return [
            self.conditions(),
            "         " + "".join(f"{heading:>10}" for heading in _HEADINGS),
            "mean     " + "".join(f"{value:10.4f}" for value in astuple(self.mean)),
            f"{percent:<5} low" + "".join(f"{bound.low:10.4f}" for bound in bounds),
            f"{percent:<4} high" + "".join(f"{bound.high:10.4f}" for bound in bounds),
            *self._sets(),
            *self._scale(),
        ]

    def _scale(self) -> list[str]:
        if self.alignment == "least_squares":
            return []  # where a shift of disparity is fitted too, a ratio of depths says nothing
        return [
            f"true / predicted median depth: median {self.scale.median:.4f}, "
            f"relative spread {self.scale.spread:.4f}, "
            f"5 to 95 %: {self.scale.low:.4f} to {self.scale.high:.4f}"
        ]

    def _sets(self) -> list[str]:
        each = [
            f"{_mean(part).abs_rel:.4f} ({_images(len(part))} from {part[0].key} on)"
            for part in parts(self.scores, self.lengths)
        ]
        return [f"AbsRel of each set: {', '.join(each)}"] if len(each) > 1 else []

    def summary(self) -> dict[str, Any]:
        """Return plain JSON types, without the single frames."""
        return {
            "protocol": self.protocol,
            "conditions": self.conditions(),
            "alignment": self.alignment,
            "flip": self.flip,
            "images": self.images,
            "sets": list(self.lengths),
            "published_images": self.published_images,
            "measured_pixels_counted": self.counted,
            "metres_per_unit": self.metres_per_unit,
            "mean": dataclasses.asdict(self.mean),
            "intervals": {name: [bound.low, bound.high] for name, bound in self.intervals.items()},
            "bootstrap": dataclasses.asdict(self.bootstrap),
            "scale": dataclasses.asdict(self.scale),
        }

    def accuracy(self, data: str) -> Accuracy:
        """Return the record that a checkpoint keeps.

        Args:
            data: Which frames were judged.
        """
        protocol = f"{self.protocol}, flip averaging" if self.flip else self.protocol
        return Accuracy(
            protocol=protocol,
            alignment=self.alignment,
            data=data,
            images=self.images,
            **dataclasses.asdict(self.mean),
        )


def summarise(
    scores: Sequence[FrameScore],
    protocol: JudgingProtocol,
    alignment: Alignment,
    *,
    flip: bool,
    metres_per_unit: float | None,
    bootstrap: BootstrapConfig,
    lengths: Sequence[int] = (),
) -> Report:
    """Average frames, and draw the means' intervals.

    Args:
        scores: Of each frame, set after set.
        protocol: What counted.
        alignment: How predictions came to scale.
        flip: Whether they were averaged with mirrored ones.
        metres_per_unit: What a unit of predicted depth is worth.
        bootstrap: How intervals are drawn.
        lengths: How many frames each set has. Each set counts the same, and so does each frame in it. None:
            all are one set.
    """
    lengths = tuple(lengths) or (len(scores),)
    table = np.array([astuple(score.metrics) for score in scores])
    ratios = np.array([score.ratio for score in scores])
    median = float(np.median(ratios))
    low, high = np.quantile(ratios, (0.05, 0.95))
    return Report(
        protocol=protocol.name,
        sentence=protocol.sentence,
        published_images=protocol.published_images,
        alignment=alignment,
        flip=flip,
        metres_per_unit=metres_per_unit,
        mean=metrics.mean([_mean(part) for part in parts(scores, lengths)]),
        intervals=dict(zip(metrics.NAMES, intervals(table, bootstrap, lengths), strict=True)),
        bootstrap=bootstrap,
        scale=ScaleStatistics(
            median=median, spread=float(np.std(ratios / median)), low=float(low), high=float(high)
        ),
        scores=tuple(scores),
        lengths=lengths if len(lengths) > 1 else (),
    )


def parts(scores: Sequence[FrameScore], lengths: Sequence[int]) -> list[Sequence[FrameScore]]:
    """Return the frames of each set."""
    ends = np.cumsum(lengths)
    return [scores[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _mean(scores: Sequence[FrameScore]) -> Metrics:
    return metrics.mean([score.metrics for score in scores])


def write_csv(path: Path, reports: Sequence[Report]) -> None:
    """Write one row for each frame and alignment."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "alignment", "pixels", "measured", "ratio", *metrics.NAMES])
        for report in reports:
            for score in report.scores:
                row = [score.key, report.alignment, score.pixels, score.measured, score.ratio]
                writer.writerow([*row, *astuple(score.metrics)])
