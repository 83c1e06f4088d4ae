"""Named runs: what they are for, and what is special about each.

Everything that a recipe does not say is the default of `training.config`; everything can be overridden on the
command line. This module knows no data of its own, save the smoke run's synthetic world.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from model.config import preset
from training.config import BatchConfig, OperationConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from training.data.augment import AugmentConfig
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.losses.sky import SkyConfig
from training.networks.pose import PoseConfig
from training.networks.teacher import TeacherConfig

_SKY = SkyConfig(weight=0.02)
_HALF = SynthesisConfig(stride=2, scales=(0, 2))
"""Views compared at half resolution and two scales: what two CPU cores can afford."""


def smoke() -> TrainConfig:
    """Minutes on a laptop: a tiny network, from scratch, on the synthetic world; shows that all works."""
    return TrainConfig(
        recipe="smoke",
        data=("synthetic:",),
        model=preset("tiny"),
        backbone_weights="random",
        losses=LossesConfig(synthesis=_HALF),
        pose=PoseConfig(supervision=0.0),
        optimizer=OptimizerConfig(lr=1e-3, backbone_lr=1e-3),
        schedule=ScheduleConfig(steps=300, warmup_steps=20, ema_decay=0.98),
        operation=OperationConfig(pictures_every=100, validate_every=100, save_every=100),
    )


def smoke_teacher() -> TrainConfig:
    """Likewise the tiny teacher, with a tiny foundation model: the first step of the whole road."""
    return replace(smoke(), recipe="smoke-teacher", model=preset("tiny-teacher"))


def smoke_distil() -> TrainConfig:
    """Likewise the tiny student, from the tiny teacher (--teacher): the second step of the whole road."""
    return replace(smoke(), recipe="smoke-distil")


def teacher() -> TrainConfig:
    """The network with semantics, self-supervised; poses and stereo where the data has them."""
    return TrainConfig(
        recipe="teacher",
        model=preset("teacher"),
        losses=LossesConfig(synthesis=_HALF, sky=_SKY),
        pose=PoseConfig(translation_scale=0.1, depth_first_steps=2000),
    )


def teacher_plain() -> TrainConfig:
    """The teacher's network without semantics: what the foundation model is compared with."""
    model = preset("teacher", foundation=None, aggregation="none")
    return replace(teacher(), recipe="teacher-plain", model=model)


def student() -> TrainConfig:
    """The lightweight network, self-supervised alone: what distillation is compared with."""
    return TrainConfig(
        recipe="student",
        model=preset("student"),
        losses=LossesConfig(synthesis=_HALF),
        pose=PoseConfig(translation_scale=0.1, depth_first_steps=2000),
    )


def distil() -> TrainConfig:
    """The lightweight network, from a teacher (--teacher), be it a network of others, and by views."""
    return TrainConfig(
        recipe="distil",
        model=preset("student"),
        asking=TeacherConfig(memory_gib=4.0),
        losses=LossesConfig(synthesis=SynthesisConfig(stride=2, scales=(0,))),
        pose=PoseConfig(translation_scale=0.1, depth_first_steps=2000),
    )


def kitti_640() -> TrainConfig:
    """The teacher on the Eigen-Zhou split at 640x192; from video alone with stereo=no&poses=no. For a GPU."""
    return TrainConfig(
        recipe="kitti-640",
        model=preset("teacher"),
        precision="bfloat16",
        batch=BatchConfig(size=12),
        losses=LossesConfig(sky=_SKY),
        pose=PoseConfig(supervision=0.0),
        optimizer=OptimizerConfig(lr=1e-4, backbone_lr=1e-4),
        # 20 epochs of 39,810 frames; the rate drops after 15, as is usual in the field.
        schedule=ScheduleConfig(
            steps=66_000, warmup_steps=500, shape="step", final_factor=0.1, milestones=(0.75,)
        ),
        operation=OperationConfig(loader_threads=8, validate_every=3000, save_every=1000),
    )


def kitti_1024() -> TrainConfig:
    """Likewise at 1024x320: give it the 640x192 run's checkpoint with --initial."""
    return TrainConfig(
        recipe="kitti-1024",
        model=preset("teacher", height=320, width=1024),
        precision="bfloat16",
        batch=BatchConfig(size=12),
        losses=LossesConfig(sky=_SKY),
        pose=PoseConfig(supervision=0.0),
        optimizer=OptimizerConfig(lr=5e-5, backbone_lr=5e-5),
        schedule=ScheduleConfig(
            steps=16_500, warmup_steps=500, shape="step", final_factor=0.1, milestones=(0.8,)
        ),
        operation=OperationConfig(loader_threads=12, validate_every=3000, save_every=1000),
    )


def distil_kitti() -> TrainConfig:
    """The student on the Eigen-Zhou split at 640x192 from a teacher (--teacher), on one GPU, in 20 epochs."""
    return TrainConfig(
        recipe="distil-kitti",
        model=preset("student"),
        precision="bfloat16",
        batch=BatchConfig(size=32),
        pose=PoseConfig(supervision=0.0),
        # Batches of 12 have 1e-4; rates grow with the root of the batch where AdamW scales the gradients.
        optimizer=OptimizerConfig(lr=1.6e-4, backbone_lr=1.6e-4, pose_lr=1.6e-4),
        # 20 epochs of 39,810 frames.
        schedule=ScheduleConfig(
            steps=24_900, warmup_steps=500, shape="step", final_factor=0.1, milestones=(0.75,)
        ),
        operation=OperationConfig(
            loader_threads=16, cache_bytes=24 * 2**30, validate_every=1250, save_every=1250
        ),
    )


def cityscapes_512() -> TrainConfig:
    """The teacher on Cityscapes at 512x192, bottom quarter cut; from video alone with stereo=no."""
    return TrainConfig(
        recipe="cityscapes-512",
        model=preset("teacher", height=192, width=512),
        precision="bfloat16",
        batch=BatchConfig(size=12),
        losses=LossesConfig(sky=_SKY),
        pose=PoseConfig(supervision=0.0),
        optimizer=OptimizerConfig(lr=1e-4, backbone_lr=1e-4),
        # 69,731 frames, the published training set: 11 epochs.
        schedule=ScheduleConfig(
            steps=64_000, warmup_steps=500, shape="step", final_factor=0.1, milestones=(0.75,)
        ),
        operation=OperationConfig(loader_threads=8, validate_every=3000, save_every=1000),
    )


def finetune() -> TrainConfig:
    """A checkpoint (--initial) on one's own video: low rates, a short run, poses learned at first alone."""
    return TrainConfig(
        recipe="finetune",
        model=preset("student"),
        backbone_weights="random",
        losses=LossesConfig(synthesis=_HALF),
        batch=BatchConfig(augment=AugmentConfig(crop=0.3)),
        pose=PoseConfig(supervision=0.0, translation_scale=0.1, depth_first_steps=1000),
        optimizer=OptimizerConfig(lr=3e-5, backbone_lr=1e-5, gate_lr=3e-4),
        schedule=ScheduleConfig(steps=5000),
    )


def synthetic_labels() -> TrainConfig:
    """The teacher by the synthetic world's exact depth and by its views: a start for real video."""
    return TrainConfig(
        recipe="synthetic-labels",
        model=preset("teacher"),
        losses=LossesConfig(synthesis=_HALF, labels=DepthLabelsConfig(weight=0.3), sky=_SKY),
        pose=PoseConfig(translation_scale=0.1),
    )


NEEDS: Mapping[str, str] = {
    "distil": "teacher",
    "distil-kitti": "teacher",
    "smoke-distil": "teacher",
    "finetune": "initial",
}
"""Which checkpoint a recipe is pointless without, by the name of its option."""

RECIPES: Mapping[str, Callable[[], TrainConfig]] = {
    recipe().recipe: recipe
    for recipe in (
        smoke,
        smoke_teacher,
        smoke_distil,
        teacher,
        teacher_plain,
        student,
        distil,
        kitti_640,
        kitti_1024,
        distil_kitti,
        cityscapes_512,
        finetune,
        synthetic_labels,
    )
}
"""Every recipe by its name on the command line."""
