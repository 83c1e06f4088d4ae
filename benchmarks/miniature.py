"""The method's claims in miniature: equal data, steps and seeds, with and without each of its parts.

    python benchmarks/miniature.py run --world synthetic --tokens runs/tokens
    python benchmarks/miniature.py run --world kitti --kitti DATA --foundation-weights W --backbone-weights W
    python benchmarks/miniature.py report

Students learn from the teacher of their own seed, or all of them from a finished one (--teacher), as they
would in earnest: a teacher that has not learned more than they could by themselves has nothing to say.

Every arm of every seed is a run of its own that resumes where it was stopped. What is finished is a line of
miniature.jsonl, kept beside this file, and is not done again: the whole may take many evenings. Each is
judged on drives that no arm has seen, by median-scaled AbsRel. `report` writes miniature.md: mean and
spread over the seeds, and how much each part was worth within each seed.
"""

import dataclasses
import datetime
import json
import logging
import shlex
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from benchmarks.machine import processor
from model.atomic import replacing
from model.config import ModelConfig, preset
from model.weights import WeightsSource
from training.config import BatchConfig, OperationConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.judge.candidates import open_candidate
from training.judge.evaluation import evaluate
from training.judge.protocols.folder import FOLDER, FolderFrames
from training.judge.protocols.protocol import JudgedFrames, JudgingProtocol
from training.loop.distributed import Process
from training.loop.trainer import Finished
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.sky import SkyConfig
from training.networks.pose import PoseConfig
from training.networks.teacher import TeacherConfig
from training.train import train

World = Literal["synthetic", "kitti"]
_log = logging.getLogger(__name__)
_SIZE = {"height": 96, "width": 320}
RESULTS = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train."""

    role: Literal["teacher", "student"]
    what: str
    semantics: bool = True
    """Whether a teacher has its foundation model."""
    sky: bool = False
    distilled: bool = False
    without: str = ""
    """The alignment that is left out: category, feature or imitation."""


ARMS: Mapping[str, Arm] = {
    "teacher": Arm(role="teacher", what="teacher with the foundation model"),
    "teacher-plain": Arm(role="teacher", what="the same network without it", semantics=False),
    "teacher-sky": Arm(role="teacher", what="teacher with the sky guard", sky=True),
    "distilled": Arm(role="student", what="student, distilled", distilled=True),
    "alone": Arm(role="student", what="the same student, trained alone"),
    "no-category": Arm(
        role="student", what="distilled without category alignment", distilled=True, without="category"
    ),
    "no-feature": Arm(
        role="student", what="distilled without feature imitation", distilled=True, without="feature"
    ),
    "no-imitation": Arm(
        role="student", what="distilled without depth imitation", distilled=True, without="imitation"
    ),
}
"""In the order in which they are trained: the first is the teacher that the students learn from."""

QUESTIONS: Sequence[tuple[str, str, str]] = (
    ("the foundation model", "teacher", "teacher-plain"),
    ("the sky guard", "teacher-sky", "teacher"),
    ("distillation", "distilled", "alone"),
    ("distance category alignment", "distilled", "no-category"),
    ("feature imitation", "distilled", "no-feature"),
    ("depth imitation", "distilled", "no-imitation"),
)
"""What each part is worth: the arm with it, and the arm without it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Train the arms that are not finished yet."""

    world: World = "synthetic"
    arms: tuple[str, ...] = tuple(ARMS)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 300
    """Of a student."""
    teacher_steps: int = 600
    """Of a teacher: who is to teach has to know more."""
    teacher: Path | None = None
    """A finished teacher, of whom every distilled student learns; by default its own seed's."""
    kitti: Path = Path("data")
    """With --world kitti: the folder that holds kitti_raw and kitti_odometry."""
    foundation_weights: WeightsSource = "hub"
    backbone_weights: WeightsSource = "hub"
    folder: Path = Path("runs/miniature")
    results: Path = RESULTS
    tokens: Path = Path("runs/tokens")
    drawn: Path | None = None
    """Where the synthetic world's frames are kept."""
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write what was found."""

    results: Path = RESULTS
    output: Path = field(default_factory=lambda: Path(__file__).with_suffix(".md"))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one arm and seed on one set of held-out frames."""

    world: str
    held_out: str
    arm: str
    seed: int
    steps: int
    abs_rel: float
    delta1: float
    scale: float
    seconds: float
    frames: int
    teacher: str = ""
    """Of whom it learned: `own`, or a finished teacher's file name; of nobody where empty."""
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())


def run(command: Run) -> None:
    """Train every arm for every seed, seed by seed."""
    for seed in command.seeds:
        for name in command.arms:
            if _done(command, name, seed):
                continue
            _log.info("%s, %s, seed %d", command.world, name, seed)
            finished = train(_config(command, name, seed), _process())
            if finished is None or not finished.complete:
                _log.info("stopped; the same command goes on from here")
                return
            lines = [
                json.dumps(dataclasses.asdict(one)) + "\n" for one in _judge(command, name, seed, finished)
            ]
            with command.results.open("a") as file:
                file.write("".join(lines))


def _judge(command: Run, name: str, seed: int, finished: Finished) -> Iterator[Result]:
    """Judge what a run wrote on each held-out set."""
    checkpoint = _place(command, name, seed) / f"{ARMS[name].role}.safetensors"
    candidate = open_candidate(checkpoint, foundation_weights=command.foundation_weights)
    for held_out, (frames, protocol) in _held_out(command).items():
        judged = evaluate(candidate.predict, frames, protocol)
        _log.info("%s on %s: AbsRel %.4f", name, held_out, judged.mean.abs_rel)
        yield Result(
            world=command.world, held_out=held_out, arm=name, seed=seed, steps=finished.step,
            seconds=round(finished.seconds, 1), abs_rel=judged.mean.abs_rel,
            delta1=judged.mean.delta1, scale=judged.scale.median,
            frames=judged.images, teacher=_taught_by(command, ARMS[name]),
        )  # fmt: skip


def read_results(path: Path) -> list[Result]:
    """Return what is finished; the last word on each held-out set, arm, seed and number of steps counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    results = [Result(**json.loads(line)) for line in lines]
    return list({(one.held_out, one.arm, one.seed, one.steps): one for one in results}.values())


def report(command: Report) -> None:
    """Write the table from all results in the folder."""
    results = read_results(command.results)
    if not results:
        raise SystemExit(f"nothing in {command.results}; expected `run` to have finished something")
    lines = [*_head(results)]
    for held_out in sorted({result.held_out for result in results}):
        lines += _held_out_section([result for result in results if result.held_out == held_out])
    with replacing(command.output) as partial:
        partial.write_text("\n".join(lines) + "\n")


def _done(command: Run, name: str, seed: int) -> bool:
    """Say whether a run's result is there and, of the teacher, the checkpoint that others still need."""
    there = {(one.world, one.arm, one.seed, one.steps) for one in read_results(command.results)}

    def finished(arm: str) -> bool:
        return (command.world, arm, seed, _steps(command, ARMS[arm])) in there

    if not finished(name):
        return False
    asked = [arm for arm in command.arms if ARMS[arm].distilled and not finished(arm)]
    return name != "teacher" or not asked or _checkpoint(command, seed).exists()


def _taught_by(command: Run, arm: Arm) -> str:
    if not arm.distilled:
        return ""
    return command.teacher.name if command.teacher is not None else "own"


def _steps(command: Run, arm: Arm) -> int:
    return command.teacher_steps if arm.role == "teacher" else command.steps


def _checkpoint(command: Run, seed: int) -> Path:
    if command.teacher is not None:
        return command.teacher
    return _place(command, "teacher", seed) / "teacher.safetensors"


def _config(command: Run, name: str, seed: int) -> TrainConfig:
    arm = ARMS[name]
    model = _model(arm)
    losses = LossesConfig(
        synthesis=SynthesisConfig(stride=1, scales=(0, 2)), sky=SkyConfig(weight=0.02 if arm.sky else 0.0)
    )
    if arm.without:
        part = dataclasses.replace(getattr(losses, arm.without), weight=0.0)
        losses = dataclasses.replace(losses, **{arm.without: part})
    return TrainConfig(
        recipe=f"miniature {name}", folder=_place(command, name, seed), seed=seed, model=model,
        data=_training_data(command),
        foundation_weights=command.foundation_weights, backbone_weights=command.backbone_weights,
        teacher=_checkpoint(command, seed) if arm.distilled else None,
        asking=TeacherConfig(memory_gib=1.0), precision="bfloat16", batch=BatchConfig(size=4), losses=losses,
        pose=PoseConfig(supervision=0.0),
        optimizer=OptimizerConfig(lr=3e-4, backbone_lr=1e-4, gate_lr=1e-2),
        schedule=ScheduleConfig(steps=_steps(command, arm), warmup_steps=40, ema_decay=0.98),
        operation=OperationConfig(
            tokens=command.tokens, threads=command.threads, loader_threads=1, tensorboard=False,
            pictures_every=0, validate_every=0, save_every=100,
        ),
    )  # fmt: skip


def _model(arm: Arm) -> ModelConfig:
    if arm.role == "student":
        return preset("student", **_SIZE)
    if arm.semantics:
        return preset("teacher", **_SIZE)
    return preset("teacher", foundation=None, aggregation="none", **_SIZE)


def _training_data(command: Run) -> tuple[str, ...]:
    if command.world == "synthetic":
        return (_synthetic(command, sequences=24, seed=101),)
    raw, odometry = command.kitti / "kitti_raw", command.kitti / "kitti_odometry"
    return (
        f"kitti-raw:{raw}?drives=2011_09_26_drive_0013_sync",
        f"kitti-odometry:{odometry}?sequences=06,01",
    )


def _held_out(command: Run) -> Mapping[str, tuple[JudgedFrames, JudgingProtocol]]:
    """Return the frames that judge a world's arms, by what they are."""
    if command.world == "synthetic":
        height, width = _SIZE["height"], _SIZE["width"]
        config = SyntheticConfig(
            sequences=20, frames=2, seed=202, height=height, width=width, folder=command.drawn
        )
        return {"synthetic streets of seed 202": (SyntheticDataset(config), FOLDER["none"])}
    sequence = command.kitti / "kitti_odometry/sequences/04"
    drive, scans = "2011_09_26_drive_traffic_sync", "proj_depth/velodyne_raw/image_02"
    photographs = command.kitti / "kitti_raw/2011_09_26" / drive / "image_02/data"
    return {
        "KITTI odometry 04": (
            FolderFrames(sequence / "image_2", sequence / "velodyne_depth"),
            FOLDER["garg"],
        ),
        "KITTI's traffic drive": (
            FolderFrames(photographs, command.kitti / "kitti_depth" / drive / scans),
            FOLDER["garg"],
        ),
    }


def _synthetic(command: Run, *, sequences: int, seed: int) -> str:
    size = f"height={_SIZE['height']}&width={_SIZE['width']}"
    kept = f"&folder={command.drawn}" if command.drawn is not None else ""
    return f"synthetic:?sequences={sequences}&frames=10&seed={seed}&{size}{kept}"


def _place(command: Run, name: str, seed: int) -> Path:
    return command.folder / command.world / f"{name}-{seed}"


def _process() -> Process:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Process(rank=0, world_size=1, device=device)


def _head(results: Sequence[Result]) -> list[str]:
    seconds = {(result.world, result.arm, result.seed): result.seconds for result in results}
    return [
        "# The method in miniature",
        "",
        f"Written on {max(result.date for result in results)} by `python benchmarks/miniature.py report`.",
        "",
        f"- {processor()}, torch {torch.__version__}, "
        f"{sum(seconds.values()) / 3600:.1f} hours of training in all",
        f"- {_SIZE['width']}x{_SIZE['height']}, batches of 4, bfloat16, poses and stereo given, no labels",
        "- AbsRel, each frame scaled by its median, KITTI by LiDAR within the Garg crop, the synthetic world "
        "by its exact depth; lower is better; mean (lowest to highest) over the seeds",
        "",
    ]


def _held_out_section(results: Sequence[Result]) -> list[str]:
    by = {(result.arm, result.seed): result for result in results}
    named = {result.teacher for result in results if result.teacher}
    teachers = sorted("the teacher of their seed" if name == "own" else f"`{name}`" for name in named)
    trained = "the synthetic world" if results[0].world == "synthetic" else "real frames of KITTI"
    lines = [
        f"## {results[0].held_out}",
        "",
        f"{results[0].frames} frames, for those that were trained on {trained}. "
        f"Distilled students learn from {' and from '.join(teachers) or 'nobody yet'}.",
        "",
        "| arm | steps | seeds | AbsRel | d < 1.25 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, arm in ARMS.items():
        own = [result for result in results if result.arm == name]
        if own:
            errors, inliers = [r.abs_rel for r in own], [r.delta1 for r in own]
            steps = ", ".join(str(count) for count in sorted({result.steps for result in own}))
            spreads = f"{_spread(errors)} | {_spread(inliers)}"
            lines.append(f"| {arm.what} | {steps} | {len(own)} | {spreads} |")
    lines += [
        "",
        "| part | seeds | AbsRel without it minus AbsRel with it | better in |",
        "| --- | --- | --- | --- |",
    ]
    for what, has, lacks in QUESTIONS:
        gains = [by[lacks, s].abs_rel - by[has, s].abs_rel for a, s in by if a == has and (lacks, s) in by]
        if gains:
            better = sum(gain > 0 for gain in gains)
            lines.append(f"| {what} | {len(gains)} | {_spread(gains, sign='+')} | {better} of {len(gains)} |")
    return [*lines, ""]


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{statistics.mean(values):{sign}.3f} ({min(values):{sign}.3f} to {max(values):{sign}.3f})"


def main() -> None:
    """Run the command line."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )
    _log.info("%s", shlex.join(sys.argv))
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Report, tyro.conf.subcommand("report")],
        description=__doc__,
    )
    if isinstance(command, Run):
        run(command)
    else:
        report(command)


if __name__ == "__main__":
    main()
