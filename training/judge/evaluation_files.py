"""What `depth-evaluate` leaves behind: a summary, a table of frames, a picture of the best and the worst."""

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.atomic import replacing
from training.judge.alignment import SENTENCES
from training.judge.aspects import AspectsReport
from training.judge.baselines import Plane
from training.judge.candidates import Candidate
from training.judge.comparison import FrameScore, compare, predict_frames
from training.judge.contact_sheet import SheetRow, contact_sheet, encode_png
from training.judge.protocols.protocol import JudgedFrames, JudgingProtocol
from training.judge.report import Report, write_csv
from training.judge.significance import difference_lines, difference_summary, differences

SUMMARY, IMAGES, SHEET = "summary.json", "images.csv", "best_and_worst.png"
"""The files' names."""

_log = logging.getLogger(__name__)

_ROWS = 4
"""So many of the best frames, and of the worst, are drawn."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What was judged beside the candidate: a plane, or another candidate."""

    name: str
    reports: tuple[Report, ...]
    plane: Plane | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that one command found out."""

    candidate: Candidate
    data: str
    """Which frames were judged."""
    reports: tuple[Report, ...]
    """One for each alignment."""
    baselines: tuple[Baseline, ...] = ()
    against: Baseline | None = None
    """Another candidate, with which this one is compared."""
    aspects: AspectsReport | None = None
    """Edges, vehicles and sky, where they were asked for."""
    remark: str | None = None
    """What the numbers suggest about the ground truth."""

    def lines(self) -> Iterator[str]:
        """Yield the text for people."""
        yield f"{self.candidate.path.name} on {self.data}"
        for report in self.reports:
            yield from report.lines()
        if self.aspects is not None:
            yield from self.aspects.lines()
        for baseline in self.baselines:
            yield ""
            yield f"{baseline.name}, on the same frames"
            for report in baseline.reports:
                yield from report.lines()
        if self.against is not None:
            yield ""
            yield f"{self.against.name}, on the same frames"
            for report, other in zip(self.reports, self.against.reports, strict=True):
                yield from other.lines()
                yield f"{self.candidate.path.name} minus {self.against.name}, {SENTENCES[report.alignment]}"
                yield from difference_lines(report, differences(report, other))
        if self.remark is not None:
            yield f"remark: {self.remark}"

    def summary(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "data": self.data,
            "checkpoint": {
                "name": self.candidate.path.name,
                "sha256": self.candidate.sha256,
                "metadata": self.candidate.said,
            },
            "reports": [report.summary() for report in self.reports],
            "baselines": [
                {
                    "name": baseline.name,
                    "plane": None if baseline.plane is None else dataclasses.asdict(baseline.plane),
                    "reports": [report.summary() for report in baseline.reports],
                }
                for baseline in self.baselines
            ],
            "against": None
            if self.against is None
            else {
                "name": self.against.name,
                "reports": [report.summary() for report in self.against.reports],
                "differences": [
                    difference_summary(differences(report, other))
                    for report, other in zip(self.reports, self.against.reports, strict=True)
                ],
            },
            "aspects": None if self.aspects is None else self.aspects.summary(),
            "remark": self.remark,
        }


def write_evaluation(
    folder: Path, evaluation: Evaluation, frames: JudgedFrames, protocol: JudgingProtocol
) -> None:
    """Write all files; those of an earlier evaluation in the same folder are overwritten.

    Raises:
        OSError: The disk is full, say; what was found is logged, as it may have taken long.
    """
    try:
        _write(folder, evaluation, frames, protocol)
    except OSError:
        _log.warning("%s", "\n".join(evaluation.lines()))
        raise


def _write(folder: Path, evaluation: Evaluation, frames: JudgedFrames, protocol: JudgingProtocol) -> None:
    text = json.dumps(evaluation.summary(), indent=2, allow_nan=False)
    with replacing(folder / SUMMARY) as partial:
        partial.write_text(text + "\n")
    with replacing(folder / IMAGES) as partial:
        write_csv(partial, evaluation.reports)
    with replacing(folder / SHEET) as partial:
        partial.write_bytes(_sheet(evaluation, frames, protocol))


def best_and_worst(scores: Sequence[FrameScore], rows: int = _ROWS) -> list[int]:
    """Return the numbers of the frames with the lowest AbsRel and with the highest, from best to worst."""
    order = sorted(range(len(scores)), key=lambda index: scores[index].metrics.abs_rel)
    return order if len(order) <= 2 * rows else order[:rows] + order[-rows:]


def _sheet(evaluation: Evaluation, frames: JudgedFrames, protocol: JudgingProtocol) -> bytes:
    report = evaluation.reports[0]
    rows = [
        _row(evaluation.candidate, frames, index, report, protocol) for index in best_and_worst(report.scores)
    ]
    order = (
        "best to worst by AbsRel" if len(rows) == report.images else f"the {_ROWS} best and the {_ROWS} worst"
    )
    title = f"{evaluation.candidate.path.name} on {evaluation.data}, {order}: {report.conditions()}"
    return encode_png(contact_sheet(title, rows, protocol.clamp_m[1]))


def _row(
    candidate: Candidate, frames: JudgedFrames, index: int, report: Report, protocol: JudgingProtocol
) -> SheetRow:
    frame, score = frames[index], report.scores[index]
    [disparity] = predict_frames(candidate.predict, [frame], protocol, flip=report.flip)
    comparison = compare(frame, disparity, protocol)
    return SheetRow(
        caption=f"{frame.key}: AbsRel {score.metrics.abs_rel:.3f}, within 1.25 {score.metrics.delta1:.3f}, "
        f"true / predicted median {score.ratio:.3f}",
        image=protocol.prepare(frame.image),
        depth_m=comparison.depth_m(report.alignment, candidate.metres_per_unit),
        truth_m=comparison.truth_m,
        counted=comparison.counted,
    )
