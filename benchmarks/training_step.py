"""Where the time of one training step goes, by stage.

    python benchmarks/training_step.py --precision bfloat16

Each time is the least of several rounds, of the processor (what the work costs) and of the clock (what
it takes here, with whatever else runs). What was measured goes to training_step.md, beside this file. The
batch is noise of the real shape, with known poses and stereo; tokens are given, as from a cache; weights are
random, because time does not depend on them.
"""

import dataclasses
import datetime
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn

from benchmarks.machine import processor
from model.atomic import replacing
from model.config import preset
from model.decoder import DepthOutput
from model.network import TeacherNet, build
from training.config import TrainConfig
from training.data.batch import Batch
from training.loop.optimizer import AveragedWeights, build_optimizer
from training.losses.feature_imitation import FeatureProjections
from training.networks.teacher import Teacher, TeacherConfig
from training.recipes import RECIPES
from training.step.assembly import Frozen, Networks, build_networks
from training.step.step import training_step


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured."""

    recipes: tuple[str, ...] = ("student", "distil")
    """Of `training.recipes`; `distil` gets a teacher with random weights."""
    precision: str = ""
    """float32 or bfloat16; the recipe's own where empty."""
    batch_size: int = 4
    views: int = 3
    """Before, after, and the other camera."""
    pose_network: bool = False
    """Whether the known poses teach the pose network too."""
    compile: bool = False
    rounds: int = 5
    threads: int = 2
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """What else is running; found out by itself."""
    output: Path = field(default_factory=lambda: Path(__file__).with_suffix(".md"))


class Answered(nn.Module):
    """Returns what was worked out before, as leaves of a new graph."""

    def __init__(self, output: DepthOutput) -> None:
        super().__init__()
        logits = output.category_logits
        self.answer = DepthOutput(
            disparities=tuple(leaf(each) for each in output.disparities),
            features=tuple(leaf(each) for each in output.features),
            category_logits=None if logits is None else leaf(logits),
        )

    def forward(self, image: Tensor) -> DepthOutput:
        """Return it."""
        return self.answer


def leaf(tensor: Tensor) -> Tensor:
    """Return a copy that collects gradients."""
    return tensor.detach().clone().requires_grad_()


def noise_batch(config: TrainConfig, settings: Settings, tokens: bool) -> Batch:
    """Return a batch of the recipe's size; the camera drives forward a metre a frame."""
    count, views, height, width = settings.batch_size, settings.views, config.model.height, config.model.width
    pose = torch.eye(4).repeat(count, views, 1, 1)
    moves = torch.tensor([[0.0, 0, 1], [0, 0, -1], [-0.54, 0, 0]])[:views]
    pose[..., :3, 3] = moves
    intrinsics = torch.tensor([[0.58 * width, 0, width / 2], [0, 0.58 * width, height / 2], [0, 0, 1]])
    image = torch.rand(count, 3, height, width)
    return Batch(
        keys=tuple(map(str, range(count))),
        image=image,
        image_augmented=image.clone(),
        sources=torch.rand(count, views, 3, height, width),
        source_mask=torch.ones(count, views, dtype=torch.bool),
        source_T_target=pose,
        pose_known=torch.ones(count, views, dtype=torch.bool),
        intrinsics=intrinsics.expand(count, 3, 3).contiguous(),
        depth_m=None,
        depth_is_label=torch.zeros(count, dtype=torch.bool),
        tokens=tuple(torch.randn(count, 384, 14, 46) for _ in range(4)) if tokens else None,
        source_time=torch.tensor([-1, 1, 0], dtype=torch.int8)[:views].expand(count, views),
    )


def networks_of(config: TrainConfig) -> Networks:
    """Build the recipe's networks with random weights, and a teacher where the recipe distils."""
    built = build_networks(config, torch.device("cpu"))
    if config.recipe != "distil":
        return built.train()
    teacher = build(preset("teacher"), foundation_weights="random", backbone_weights="random")
    teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    projections = FeatureProjections(config.model.decoder_channels[:3], teacher.config.decoder_channels[:3])
    foundation = teacher.foundation if isinstance(teacher, TeacherNet) else None
    frozen = Frozen(teacher=Teacher(teacher, TeacherConfig(), features=True), foundation=foundation)
    return Networks(built.depth, built.pose, None, projections, frozen).train()


def least(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the milliseconds of processor and clock of the quickest round, after one to warm up."""
    run()
    taken = []
    for _ in range(rounds):
        processor, clock = time.process_time(), time.perf_counter()
        run()
        taken.append((time.process_time() - processor, time.perf_counter() - clock))
    return 1000 * min(each[0] for each in taken), 1000 * min(each[1] for each in taken)


def measure(settings: Settings, recipe: str) -> dict[str, tuple[float, float]]:
    """Return the milliseconds of each stage."""
    config = dataclasses.replace(RECIPES[recipe](), foundation_weights="random", backbone_weights="random")
    if settings.precision:
        config = dataclasses.replace(config, precision=settings.precision)
    if not settings.pose_network:
        config = dataclasses.replace(config, pose=dataclasses.replace(config.pose, supervision=0.0))
    torch.manual_seed(0)
    networks = networks_of(config)
    if settings.compile:
        networks.depth.compile()
    tokens = recipe == "distil" or config.model.foundation is not None
    batch = noise_batch(config, settings, tokens)
    low = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")

    def ask(network: nn.Module) -> DepthOutput:
        with low:
            image = batch.image.contiguous(memory_format=torch.channels_last)
            semantic = isinstance(network, TeacherNet) and network.foundation is not None
            return network(image, batch.tokens) if semantic else network(image)  # type: ignore[no-any-return]

    def learn(step: Networks) -> None:
        training_step(step, batch, config, 0).loss.backward()

    def network_alone() -> None:
        output = ask(networks.depth)
        torch.stack([each.mean() for each in output.disparities]).sum().backward()

    answered: nn.Module = Answered(ask(networks.depth))
    frozen = networks.frozen
    if frozen.teacher is not None:
        with torch.no_grad():
            answered_teacher = Answered(ask(frozen.teacher.network)).requires_grad_(False)
            frozen = Frozen(teacher=Teacher(answered_teacher, TeacherConfig(), features=True))
    losses_only = Networks(answered, networks.pose, None, networks.projections, frozen)  # type: ignore[arg-type]
    parameters = networks.trainable()
    optimizer, average = build_optimizer(parameters, config.optimizer), AveragedWeights(parameters, 0.999)

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        average.update(parameters, 1)

    with torch.no_grad():
        stages = {"network, forward": least(lambda: ask(networks.depth), settings.rounds)}
        if networks.frozen.teacher is not None:
            teacher = networks.frozen.teacher.network
            stages["teacher, forward"] = least(lambda: ask(teacher), settings.rounds)
    stages["network, forward and backward"] = least(network_alone, settings.rounds)
    stages["poses and losses, forward and backward"] = least(lambda: learn(losses_only), settings.rounds)
    stages["whole step, forward and backward"] = least(lambda: learn(networks), settings.rounds)
    stages["clip, optimizer, average"] = least(update, settings.rounds)
    return stages


def report(settings: Settings, measured: Mapping[str, Mapping[str, tuple[float, float]]]) -> str:
    """Write the tables."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    pose = "with" if settings.pose_network else "without"
    precision = settings.precision or "precision of the recipe"
    lines = [
        "# Where the time of a training step goes",
        "",
        f"Measured on {today} by `{shlex.join(['python', *sys.argv])}`.",
        "",
        f"- {processor()}, {os.cpu_count()} cores, torch {torch.__version__}; "
        f"load average before: {settings.load:.1f}",
        f"- 640x192, batches of {settings.batch_size}, {settings.views} views, {pose} the pose network, "
        f"{precision}, {settings.threads} threads, tokens given as from a cache",
        f"- the least of {settings.rounds} rounds; milliseconds",
        "",
    ]
    for recipe, stages in measured.items():
        whole = stages["whole step, forward and backward"][1] + stages["clip, optimizer, average"][1]
        lines += [
            f"## {recipe}",
            "",
            "| stage | processor | clock | of a step |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {name} | {work_ms:.0f} | {clock_ms:.0f} | {clock_ms / whole:.0%} |"
            for name, (work_ms, clock_ms) in stages.items()
        ]
        lines += [""]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(Settings, description=__doc__)
    torch.set_num_threads(settings.threads)
    measured = {}
    for recipe in settings.recipes:
        measured[recipe] = measure(settings, recipe)
        print(f"{recipe} {settings.precision}, batch {settings.batch_size}, {settings.threads} threads")
        for name, (work_ms, clock_ms) in measured[recipe].items():
            print(f"  {name:40s} {work_ms:8.0f} ms of processor {clock_ms:8.0f} ms of clock")
    with replacing(settings.output) as partial:
        partial.write_text(report(settings, measured))


if __name__ == "__main__":
    main()
