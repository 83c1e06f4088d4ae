"""A world that can be computed in the head: a textured wall ahead, and a camera that steps sideways."""

import numpy as np
import torch

from model.config import preset
from training.config import BatchConfig, OperationConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from training.data.augment import NO_AUGMENTATION, Augmentation
from training.data.collate import collate, frame
from training.data.sequence import Sample, View
from training.losses.config import LossesConfig, SynthesisConfig
from training.networks.pose import PoseConfig

HEIGHT, WIDTH, FOCAL = 64, 96, 60.0
WALL_M, STEP_M = 6.0, 0.4
"""The wall moves by 60 * 0.4 / 6 = 4 pixels a step."""

INTRINSICS = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], np.float32)


def photograph(shift_px: float, phase: float = 0.0) -> np.ndarray:
    """The wall, seen from so many pixels to the right; another phase is another wall."""
    x = (np.arange(WIDTH) + 0.5 + shift_px)[None]
    y = (np.arange(HEIGHT) + 0.5)[:, None]
    waves = [np.sin(x / 3 + phase) * np.cos(y / 5), np.sin(x / 7 + y / 4 + phase), np.cos(x / 11 - y / 9)]
    channels = [waves[0] + 0.5 * waves[2], waves[1] + 0 * y, waves[2] + 0.5 * waves[0]]
    return np.stack([127 + 60 * channel for channel in channels], axis=-1).clip(0, 255).astype(np.uint8)


def sideways(metres: float) -> np.ndarray:
    """The pose of a source whose camera is that far to the right of the target's."""
    pose = np.eye(4, dtype=np.float32)
    pose[0, 3] = -metres
    return pose


class WallWorld:
    """Frames of one walk along the wall.

    Args:
        count: How many.
        poses: Whether the data knows the moves.
        labels: Whether depth may be learned from.
    """

    def __init__(self, count: int = 8, *, poses: bool = True, labels: bool = False) -> None:
        self._count, self._poses, self._labels = count, poses, labels

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> list[str]:
        return [f"wall/{index}" for index in range(self._count)]

    def describe(self) -> str:
        return f"a wall: {self._count} frames"

    def __getitem__(self, index: int) -> Sample:
        step_px = FOCAL * STEP_M / WALL_M
        views = tuple(
            View(
                image=photograph(direction * step_px, phase=index),
                source_T_target=sideways(direction * STEP_M) if self._poses else None,
                role=role,
            )
            for direction, role in ((-1, "previous"), (1, "next"))
        )
        return Sample(
            key=self.keys[index],
            image=photograph(0.0, phase=index),
            intrinsics=INTRINSICS,
            sources=views,
            depth_m=np.full((HEIGHT, WIDTH), WALL_M, np.float32),
            depth_is_label=self._labels,
        )


def wall_batch(count: int = 2, **options: bool):
    """The first frames as one batch, as photographed."""
    world = WallWorld(count, **options)
    return collate([frame(world[i], Augmentation(), height=HEIGHT, width=WIDTH) for i in range(count)])


def wall_disparity(batch: int = 2, depth_m: float = WALL_M) -> torch.Tensor:
    """The wall's disparity, or that of a wall elsewhere."""
    return torch.full((batch, 1, HEIGHT, WIDTH), 1 / depth_m)


def tiny_config(folder, **changes) -> TrainConfig:
    """A run of the tiny student that takes seconds."""
    values = {
        "recipe": "test",
        "model": preset("tiny"),
        "backbone_weights": "random",
        "foundation_weights": "random",
        "folder": folder,
        "batch": BatchConfig(size=2, augment=NO_AUGMENTATION),
        "losses": LossesConfig(synthesis=SynthesisConfig(stride=2, scales=(0,))),
        "pose": PoseConfig(channels=(8, 16), supervision=0.0),
        "optimizer": OptimizerConfig(lr=1e-3, backbone_lr=1e-3),
        "schedule": ScheduleConfig(steps=6, warmup_steps=2, ema_decay=0.9),
        "operation": OperationConfig(
            device="cpu", tensorboard=False, log_every=1, pictures_every=0, validate_every=0, save_every=2
        ),
    }
    return TrainConfig(**(values | changes))
