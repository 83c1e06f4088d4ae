"""How well a teacher knows streets that nobody has trained on, by their exact depth, beside a constant plane.

    python benchmarks/synthetic_teacher.py benchmarks/synthetic_teacher.safetensors --training-seed 700
    python benchmarks/synthetic_teacher.py RUN/teacher.safetensors --styles city

The first is the one that docs/train.md trains; its weights lie beside this file. One frame of each street of
a seed of its own. The plane is the best there is for other streets of the same styles, those of the seed that
training used. What was measured goes to synthetic_teacher.md beside this file, and the best and the worst
frames to synthetic_teacher.jpg.
"""

import datetime
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from benchmarks.machine import processor
from model.atomic import replacing
from model.metadata import Provenance, read_metadata
from model.weights import WeightsSource
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.data.synthetic.config import EVERYDAY_STYLES
from training.judge.baselines import best_plane
from training.judge.candidates import Candidate, open_candidate
from training.judge.evaluation import evaluate
from training.judge.evaluation_files import SHEET, Baseline, Evaluation, write_evaluation
from training.judge.protocols.folder import FOLDER
from training.judge.report import Report

_PROTOCOL = replace(
    FOLDER["none"],
    name="synthetic",
    sentence="synthetic world, exact depth of every pixel, no crop, 0.001 to 80 m",
)
_JPEG_QUALITY = 85
_FIRST = 60
"""So many streets were all that was judged until 2026-11-29; they still have a line, to compare with."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is judged, and on which streets."""

    checkpoint: tyro.conf.Positional[Path]
    styles: tuple[str, ...] = EVERYDAY_STYLES
    streets: int = 240
    """How many, in turn of each style."""
    seed: int = 404
    """Of the streets; training and its validation must have had others."""
    training_seed: int = 101
    """Of the streets that the plane is fitted to."""
    min_speed_m_per_s: float = 4.0
    max_speed_m_per_s: float = 10.0
    foundation_weights: WeightsSource = "hub"
    drawn: Path | None = None
    """Where frames are kept."""
    output: Path = field(default_factory=lambda: Path(__file__).with_suffix(".md"))


def streets(command: Command, seed: int, candidate: Candidate) -> SyntheticDataset:
    """Return a frame of each street, as large as the network wants it."""
    config = read_metadata(candidate.path).config
    return SyntheticDataset(
        SyntheticConfig(
            sequences=command.streets,
            frames=1,
            height=config.height,
            width=config.width,
            stereo=False,
            seed=seed,
            styles=command.styles,
            min_speed_m_per_s=command.min_speed_m_per_s,
            max_speed_m_per_s=command.max_speed_m_per_s,
            folder=command.drawn,
        )
    )


def judge(command: Command, candidate: Candidate) -> Evaluation:
    """Judge the network and the plane, and draw the picture."""
    held_out = streets(command, command.seed, candidate)
    plane = best_plane(streets(command, command.training_seed, candidate), _PROTOCOL)
    evaluation = Evaluation(
        candidate=candidate,
        data=f"{len(held_out)} streets of seed {command.seed}, {', '.join(command.styles)}",
        reports=tuple(evaluate(candidate.predict, held_out, _PROTOCOL, flip=flip) for flip in (False, True)),
        baselines=(
            Baseline(
                name=f"best constant plane, fitted to as many streets of seed {command.training_seed}",
                plane=plane,
                reports=(evaluate(plane.predict, held_out, _PROTOCOL),),
            ),
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_evaluation(Path(folder), evaluation, held_out, _PROTOCOL)
        with Image.open(Path(folder, SHEET)) as sheet:
            sheet.convert("RGB").save(command.output.with_suffix(".jpg"), quality=_JPEG_QUALITY)
    return evaluation


def report(command: Command, evaluation: Evaluation, load: float) -> Iterator[str]:
    """Yield the lines of the report."""
    metadata = read_metadata(evaluation.candidate.path)
    yield "# A teacher on streets that it has never seen"
    yield ""
    yield f"Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`."
    yield ""
    yield f"- {processor()}, {os.cpu_count()} cores, load average {load:.1f}; time plays no part"
    yield f"- {metadata.config.width}x{metadata.config.height}, {evaluation.data}"
    yield f"- {evaluation.reports[0].conditions()}"
    yield from _training(metadata.provenance)
    yield ""
    yield "| what | AbsRel | RMSE | d < 1.25 | worst frame | median frame |"
    yield "| --- | --- | --- | --- | --- | --- |"
    yield _row("teacher", evaluation.reports[0])
    for style in command.styles if len(command.styles) > 1 else ():
        yield _row(f"teacher, {style}", evaluation.reports[0], _of_style(command, style))
    if command.streets > _FIRST:
        yield _row(f"teacher, the first {_FIRST} streets", evaluation.reports[0], range(_FIRST))
    yield _row("teacher, averaged with its mirrored prediction", evaluation.reports[1])
    for baseline in evaluation.baselines:
        yield _row(baseline.name, baseline.reports[0])
    yield ""
    yield f"![The best and the worst frames]({command.output.with_suffix('.jpg').name})"


def _training(provenance: Provenance) -> Iterator[str]:
    begun = " from another checkpoint" if provenance.parents else ""
    yield f"- trained{begun} for {provenance.steps} steps, {provenance.hours:.1f} hours, on:"
    yield from (f"  - {data}" for data in provenance.data)
    if provenance.notes:
        yield f"- {provenance.notes}"


def _of_style(command: Command, style: str) -> list[int]:
    count = len(command.styles)
    return [street for street in range(command.streets) if command.styles[street % count] == style]


def _row(name: str, judged: Report, chosen: Sequence[int] | None = None) -> str:
    scores = [judged.scores[index].metrics for index in chosen or range(judged.images)]
    errors = [score.abs_rel for score in scores]
    if chosen is None:
        low, high = judged.intervals["abs_rel"].low, judged.intervals["abs_rel"].high
        interval = f" ({low:.3f} to {high:.3f})"
    else:
        interval = ""
    rmse, inliers = (
        float(np.mean([getattr(score, name) for score in scores])) for name in ("rmse", "delta1")
    )
    return (
        f"| {name} | {np.mean(errors):.3f}{interval} | {rmse:.2f} m | {inliers:.3f} "
        f"| {max(errors):.3f} | {np.median(errors):.3f} |"
    )


def main() -> None:
    """Run the command line."""
    command = tyro.cli(Command, description=__doc__)
    load = os.getloadavg()[0]
    candidate = open_candidate(command.checkpoint, foundation_weights=command.foundation_weights)
    text = "\n".join(report(command, judge(command, candidate), load)) + "\n"
    with replacing(command.output) as draft:
        draft.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
