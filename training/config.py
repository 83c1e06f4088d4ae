"""What decides a training run: one frozen tree of settings, beside what each part configures.

Everything but `operation`, `folder` and `validation` decides the weights that come out, and is compared when
a run resumes. This module knows no tensors of its own and reads no data.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from model.config import ModelConfig, preset
from model.weights import WeightsSource
from training.data.augment import AugmentConfig
from training.data.sources import SourceError, without_places
from training.judge.protocols.folder import Crop
from training.losses.config import LossesConfig
from training.networks.intrinsics import IntrinsicsConfig
from training.networks.pose import PoseConfig
from training.networks.teacher import TeacherConfig


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How batches are made. Images have the model's size."""

    size: int = 4
    """Samples in one pass, of all processes together; accumulation multiplies it."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    canonical_fy_per_height: float | None = None
    """The vertical focal length over the image's height of a lens that all metres are brought to: lets one
    network learn from several lenses, and from crops that zoom. KITTI's is 1.92. None: metres stay as they
    are."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"batch.size is {self.size}; expected at least 1")
        lens = self.canonical_fy_per_height
        if lens is not None and not 0 < lens < float("inf"):
            raise ValueError(f"batch.canonical_fy_per_height is {lens}; expected more than 0, such as 1.92")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW: one learning rate for each kind of parameter."""

    lr: float = 1e-4
    backbone_lr: float = 5e-5
    """Of the pretrained geometric encoder."""
    gate_lr: float = 5e-3
    """Of the aggregation's gates, which start at zero: with the common rate they would hardly open."""
    pose_lr: float = 1e-4
    intrinsics_lr: float = 1e-3
    weight_decay: float = 1e-2
    """Of matrices and kernels; vectors are never decayed."""
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it; 0: never."""

    def __post_init__(self) -> None:
        for name in ("lr", "backbone_lr", "gate_lr", "pose_lr", "intrinsics_lr", "weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"optimizer.{name} is {getattr(self, name)}; expected at least 0")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long a run is, and how the learning rates go: a pure function of the step."""

    steps: int = 20_000
    """Of the optimizer."""
    accumulation: int = 1
    """Batches a step."""
    warmup_steps: int = 200
    """Rates rise linearly from 0 until then."""
    shape: Literal["cosine", "step", "constant"] = "cosine"
    final_factor: float = 0.05
    """Where the cosine ends; what each step multiplies by."""
    milestones: tuple[float, ...] = (0.75,)
    """With "step": the shares of the run at which rates drop."""
    ema_decay: float = 0.999
    """Of the averaged weights, which are validated and exported; 0: the last weights."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.accumulation < 1:
            raise ValueError(
                f"schedule.steps is {self.steps} and accumulation {self.accumulation}; expected at least 1"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"schedule.ema_decay is {self.ema_decay}; expected 0 up to below 1")
        if self.warmup_steps < 0:
            raise ValueError(f"schedule.warmup_steps is {self.warmup_steps}; expected at least 0")


@dataclass(frozen=True, kw_only=True)
class OperationConfig:
    """How the work is done; nothing here is compared when a run resumes."""

    device: str = "auto"
    """`auto`: CUDA if there is any."""
    threads: int = 0
    """Of torch on a CPU; 0: its own choice."""
    compile: bool = False
    """Whether torch.compile makes the depth network's code, which takes a minute and more at the start."""
    loader_threads: int = 2
    cache_bytes: int = 4 * 2**30
    """Of memory for resized frames."""
    tokens: Path | None = None
    """Folder in which the foundation model's tokens are kept; None: computed in every step."""
    log_every: int = 20
    """Steps."""
    pictures_every: int = 500
    """Steps; 0: none."""
    validate_every: int = 500
    """Steps; 0: only at the end."""
    validate_crop: Crop = "none"
    """Within which pixels count for the choice of the best state: `garg` suits KITTI's cameras. The log has
    the error of each."""
    save_every: int = 500
    """Steps."""
    save_minutes: float = 10.0
    tensorboard: bool = True
    plan_only: bool = False
    """Print the plan and stop."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run."""

    data: tuple[str, ...] = ()
    """What to learn from: one or more of KIND:PATH?option=value&..."""
    validation: tuple[str, ...] = ()
    """Likewise; watched by its measured depth, never learned from."""
    folder: Path = Path("runs/run")
    """Where checkpoints and logs go. A run that is found there resumes."""
    recipe: str = "custom"
    model: ModelConfig = field(default_factory=lambda: preset("student"))
    foundation_weights: WeightsSource = "hub"
    """Of the frozen foundation model: "hub", "random" or a file."""
    backbone_weights: WeightsSource = "hub"
    """The geometric encoder's first weights: likewise."""
    teacher: Path | None = None
    """The checkpoint to distil from; its foundation model is `foundation_weights`. Or a network of others
    (.onnx, .xml) with its .depth.json beside it."""
    asking: TeacherConfig = field(default_factory=TeacherConfig)
    """How the teacher is asked."""
    initial: Path | None = None
    """The checkpoint to start from, of the same model."""
    semantics: Literal["shipped"] | Path = "shipped"
    """The token probe that the guards ask: the one for DINOv2 ViT-S/14 that comes with this program, or a
    file that `python -m training.probe_fit` wrote."""
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks; losses and weights are always float32."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    losses: LossesConfig = field(default_factory=LossesConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    intrinsics: IntrinsicsConfig = field(default_factory=IntrinsicsConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    operation: OperationConfig = field(default_factory=OperationConfig)

    def __post_init__(self) -> None:
        if self.teacher is not None and self.model.role != "student":
            raise ValueError(f"teacher is {self.teacher}, but model.role is {self.model.role!r}")
        augment = self.batch.augment
        if self.intrinsics.principal_point and (augment.flip or augment.crop):
            raise ValueError(
                "intrinsics.principal_point is True: one point is learned for all samples, and mirrored or "
                "cropped ones have another; expected batch.augment.flip 0 and batch.augment.crop 0"
            )


_NOT_DECISIVE = ("operation", "folder", "validation")
CONTENTS = ".contents"
"""How the names end under which a run's state has what tells apart data and files of one name."""


def decisive(config: TrainConfig) -> dict[str, Any]:
    """Return all settings that decide the weights, flat, by dotted name, as plain JSON types."""
    plain = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    for name in _NOT_DECISIVE:
        del plain[name]
    return dict(_flat(plain, ""))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in a line each which settings differ, with their old and new values.

    A setting that did not exist before is taken to have had its default, and contents that nobody noted to
    have been what they are. A file, or data, may have moved where its contents were noted and are the same.
    """
    unnoted = {name: value for name, value in now.items() if name.endswith(CONTENTS)}
    then = {**decisive(TrainConfig()), **unnoted, **before}
    missing = "(not there)"
    return [
        f"{name}: {_change(then.get(name, missing), now.get(name, missing))}"
        for name in sorted({*before, *now})
        if then.get(name, missing) != now.get(name, missing) and not _moved(name, before, now)
    ]


def _change(before: Any, now: Any) -> str:
    """Say how a value changed; of two lists, by those elements alone that are not in both."""
    if isinstance(before, list) and isinstance(now, list):
        gone, new = [one for one in before if one not in now], [one for one in now if one not in before]
        if gone or new:
            return f"was {gone!r}, is now {new!r}" + (", beside others" if len(gone) < len(before) else "")
    return f"was {before!r}, is now {now!r}"


def _moved(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a setting names the same contents in another place."""
    noted = [f"{one}{CONTENTS}" for one in (("data", "files") if name == "data" else (name,))]
    if not all(one in before and before[one] == now.get(one) for one in noted):
        return False
    if name != "data":
        return bool(now.get(name))
    try:
        return without_places(before[name]) == without_places(now[name])
    except SourceError:
        return False


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
