"""The part of the trial on a GPU that trains: how long a step takes, and how often the host waits in it."""

import dataclasses
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch

from benchmarks.gpu_trial_parts import Row, Trial
from model.config import preset
from model.network import TeacherNet, build
from training.config import BatchConfig, OperationConfig, TrainConfig
from training.data.batch import Batch
from training.loop.distributed import Process
from training.loop.trainer import Trainer
from training.losses.feature_imitation import FeatureProjections
from training.losses.sky import SkyConfig
from training.networks.teacher import Teacher, TeacherConfig
from training.recipes import RECIPES
from training.step.assembly import Frozen, Networks, build_networks


class NoiseBatches:
    """Batches of noise for ever, as a loader that never makes the trainer wait; notes when each is taken."""

    wait_share = 0.0

    def __init__(self, config: TrainConfig, trial: Trial) -> None:
        count, height, width = config.batch.size, config.model.height, config.model.width
        image = torch.rand(count, 3, height, width)
        pose = torch.eye(4).repeat(count, 2, 1, 1)
        intrinsics = torch.tensor([[0.58 * width, 0, width / 2], [0, 1.92 * height, height / 2], [0, 0, 1]])
        batch = Batch(
            keys=tuple(map(str, range(count))),
            image=image,
            image_augmented=image.clone(),
            sources=torch.rand(count, 2, 3, height, width),
            source_mask=torch.ones(count, 2, dtype=torch.bool),
            source_T_target=pose,
            pose_known=torch.zeros(count, 2, dtype=torch.bool),
            intrinsics=intrinsics.expand(count, 3, 3).contiguous(),
            depth_m=None,
            depth_is_label=torch.zeros(count, dtype=torch.bool),
            tokens=None,
            source_time=torch.tensor([-1, 1], dtype=torch.int8).repeat(count, 1),
        )
        batch = dataclasses.replace(batch, counted=batch.count())
        self._batch = batch.pin_memory() if trial.cuda else batch
        self.taken_s: list[float] = []

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Give the same batch again and again."""
        while True:
            self.taken_s.append(time.perf_counter())
            yield self._batch

    def reset_wait_share(self) -> None:
        """Do nothing."""


def steps(trial: Trial) -> list[Row]:
    """Milliseconds of a step of the distilled student and of the teacher, and waits of the host in it."""
    rows = []
    for recipe in ("distil-kitti", "kitti-640"):
        with TemporaryDirectory() as folder:
            config = _config(recipe, Path(folder), trial)
            loader = NoiseBatches(config, trial)
            networks = _networks(config, trial)
            process = Process(rank=0, world_size=1, device=trial.device)
            trainer = Trainer(config, networks, cast(Any, loader), None, process)
            with _counting_waits(trial) as waits:
                trainer.run()
        warm = len(loader.taken_s) // 2
        pairs = zip(loader.taken_s[warm:], loader.taken_s[warm + 1 :], strict=False)
        ms = 1000 * statistics.median(later - earlier for earlier, later in pairs)
        what = f"{recipe}, batch of {config.batch.size}, {config.precision}"
        rows.append(Row(what=what, value=ms, unit="ms a step"))
        if trial.cuda:
            found = sum("synchroniz" in str(one.message) for one in waits) / config.schedule.steps
            rows.append(Row(what=f"{what}: waits of the host", value=found, unit="a step"))
    return rows


def _config(recipe: str, folder: Path, trial: Trial) -> TrainConfig:
    config = RECIPES[recipe]()
    losses = dataclasses.replace(
        config.losses, sky=SkyConfig()
    )  # whose probe needs the real foundation model
    count = 40 if trial.cuda else 3
    config = dataclasses.replace(
        config,
        folder=folder,
        losses=losses,
        foundation_weights="random",
        backbone_weights="random",
        precision=config.precision if trial.cuda else "float32",
        schedule=dataclasses.replace(config.schedule, steps=count),
        operation=OperationConfig(
            tensorboard=False, log_every=0, pictures_every=0, validate_every=0, save_every=0, save_minutes=60
        ),
    )
    if trial.cuda and not trial.quick:
        return config
    tiny = "tiny-teacher" if config.model.role == "teacher" else "tiny"
    return dataclasses.replace(config, model=preset(tiny), batch=BatchConfig(size=2))


def _networks(config: TrainConfig, trial: Trial) -> Networks:
    built = build_networks(config, trial.device)
    if config.model.role == "teacher":
        return built
    name = "teacher" if config.model.name == "student" else "tiny-teacher"
    teacher = build(preset(name), foundation_weights="random", backbone_weights="random")
    teacher.eval().requires_grad_(False)
    teacher.to(trial.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    projections = FeatureProjections(config.model.decoder_channels[:3], teacher.config.decoder_channels[:3])
    asked = Teacher(teacher, TeacherConfig(), features=True)
    foundation = teacher.foundation if isinstance(teacher, TeacherNet) else None
    networks = Networks(
        built.depth, built.pose, None, projections, Frozen(teacher=asked, foundation=foundation)
    )
    return networks.to(trial.device)


class _counting_waits(warnings.catch_warnings):  # noqa: N801 - it is used as a context
    """Collects what CUDA says of operations that wait."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(record=True)
        self._cuda = trial.cuda

    def __enter__(self) -> list[warnings.WarningMessage]:
        recorded = super().__enter__()
        warnings.simplefilter("always")
        if self._cuda:
            torch.cuda.set_sync_debug_mode("warn")
        assert recorded is not None
        return recorded

    def __exit__(self, *exception: Any) -> None:
        if self._cuda:
            torch.cuda.set_sync_debug_mode("default")
        super().__exit__(*exception)
