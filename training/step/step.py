"""One batch -> losses: a pure function of networks, batch and step, with nothing remembered."""

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.decoder import DepthOutput
from model.disparity import disparity_to_depth
from model.foundation import TokenGrids
from model.network import TeacherNet
from training.config import TrainConfig
from training.data.batch import Batch
from training.losses.depth_labels import depth_labels
from training.losses.ground_contact import ground_contact
from training.losses.pose_labels import pose_labels
from training.losses.reprojection import Explained
from training.losses.sky import sky, sky_weights
from training.losses.smoothness import smoothness
from training.networks.described import TaughtOutput
from training.networks.teacher import ask
from training.step.assembly import Networks
from training.step.distillation import distillation
from training.step.synthesis import Synthesis, ViewSynthesis, resample, shrunk

PerSample = dict[str, Float[Tensor, " batch"]]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a step saw of its first sample, for the log."""

    image: Float[Tensor, "3 height width"]
    disparity: Float[Tensor, "1 height width"]
    teacher_disparity: Float[Tensor, "1 height width"] | None
    warped: Float[Tensor, "3 _ _"] | None
    moving: Float[Tensor, "1 _ _"] | None
    """1 where a view through time passes the auto-mask."""
    sky: Float[Tensor, "1 _ _"] | None


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What came of one batch."""

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    """The weighted losses that `loss` is the sum of, detached."""
    watched: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Figures that are not trained for, detached; only in detail."""
    pictures: Pictures | None = None
    """Only in detail."""


class TrainingStep(nn.Module):
    """`training_step` as a module, so that it can be wrapped for several processes."""

    def __init__(self, networks: Networks, config: TrainConfig) -> None:
        super().__init__()
        self.networks = networks
        self.config = config

    def forward(self, batch: Batch, step: int, detail: bool = False) -> StepResult:
        """Return what comes of a batch."""
        return training_step(self.networks, batch, self.config, step, detail=detail)


def training_step(
    networks: Networks, batch: Batch, config: TrainConfig, step: int, *, detail: bool = False
) -> StepResult:
    """Compute all losses of a batch.

    Args:
        networks: What is trained, and what is only asked.
        batch: On the networks' device.
        config: Which losses.
        step: How far the run is; some views teach only the pose at first.
        detail: Whether to return pictures and watched figures too.
    """
    # 1. Depth of the image in other light; tokens and the teacher see the photograph.
    tokens = _tokens(networks, batch)
    student, teacher = _depths(networks, batch, tokens, config)
    # 2. Where the camera went, and what kind of camera it is.
    pose, losses = _poses(networks, batch, config)
    # 3. View synthesis, and everything that the weights ask for.
    scene = _Scene(networks, batch, tokens, pose, config, step)
    losses |= _self_supervision(scene, student)
    losses |= _guards(scene, student)
    seen = teacher.beside(student.disparity) if isinstance(teacher, TaughtOutput) else teacher
    if teacher is not None and seen is not None:
        losses |= distillation(
            student,
            teacher,
            networks.projections,
            config.losses,
            lambda: _evidence(scene, student, seen),
        )
    # 4. One number: the sum over losses, the mean over samples.
    total = torch.stack(list(losses.values())).sum(dim=0).mean()
    return StepResult(
        loss=total,
        terms={name: loss.detach().mean() for name, loss in losses.items()},
        watched=_watched(scene, student) if detail else {},
        pictures=_pictures(scene, student, seen) if detail else None,
    )


class _Scene:
    """What the losses of one batch share; a view synthesis is done once however often it is asked for."""

    def __init__(
        self,
        networks: Networks,
        batch: Batch,
        tokens: TokenGrids | None,
        pose: Float[Tensor, "batch views 4 4"],
        config: TrainConfig,
        step: int,
    ) -> None:
        self.batch = batch
        self.config = config.losses
        self.max_depth = config.model.max_depth
        height, width = batch.image.shape[-2:]
        intrinsics = batch.intrinsics
        if networks.intrinsics is not None and batch.intrinsics_known is not None:
            intrinsics = networks.intrinsics(intrinsics, batch.intrinsics_known, height, width, batch.camera)
        # While depth waits for the pose network, nothing else may move it either: to an optimizer that scales
        # gradients, the faintest smoothness alone would be as loud as everything together.
        waits = step < config.pose.depth_first_steps
        self.depth_learns = (batch.source_mask & batch.pose_known).any(dim=1) if waits else None
        self._views = ViewSynthesis(
            batch,
            pose,
            intrinsics,
            config.losses,
            batch.pose_known if waits and not batch.count().every_pose_known else None,
        )
        self._done: dict[int, tuple[Tensor, Synthesis]] = {}
        probe = networks.frozen.probe
        self.semantics = None if probe is None or tokens is None else probe(tokens)
        self.sky = None
        if self.semantics is not None and config.losses.sky.weight:
            self.sky = sky_weights(self.semantics["sky"], height, width, config.losses.sky)

    def synthesis(self, disparity: Float[Tensor, "batch 1 _ _"]) -> Synthesis:
        """Return the view synthesis of a disparity."""
        # The tensor is kept with its result, so that its id cannot be given to another.
        if id(disparity) not in self._done:
            self._done[id(disparity)] = (disparity, self._views(disparity))
        return self._done[id(disparity)][1]

    def held(self, loss: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return a loss that moves no depth which still waits for the pose network."""
        return loss if self.depth_learns is None else torch.where(self.depth_learns, loss, loss.detach())

    @property
    def photometric_weight(self) -> Float[Tensor, "batch height width"] | None:
        """How much each pixel counts in view synthesis; None: all alike."""
        if self.sky is None or not self.config.sky.exclude:
            return None
        return 1 - resample(self.sky, self._views.size)[:, 0]


def _tokens(networks: Networks, batch: Batch) -> TokenGrids | None:
    """Return the batch's tokens, computed where the trained network or the probe needs them.

    The teacher alone gets none here: it computes them itself, for images that it does not remember.
    """
    if batch.tokens is not None:
        return cast(TokenGrids, batch.tokens)
    frozen, depth = networks.frozen, networks.depth
    if frozen.probe is None and not (isinstance(depth, TeacherNet) and depth.foundation is not None):
        return None
    if frozen.foundation is None:
        raise ValueError("the batch has no tokens, and there is no foundation model to compute them")
    return cast(TokenGrids, frozen.foundation(batch.image))


def _depths(
    networks: Networks, batch: Batch, tokens: TokenGrids | None, config: TrainConfig
) -> tuple[DepthOutput, DepthOutput | None]:
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        student = ask(networks.depth, batch.image_augmented, tokens)
        asked = networks.frozen.teacher
        return student, None if asked is None else asked(batch.image, tokens)


def _poses(
    networks: Networks, batch: Batch, config: TrainConfig
) -> tuple[Float[Tensor, "batch views 4 4"], PerSample]:
    """Return every view's pose, and the loss of those that the data knows."""
    counted = batch.count()
    asked = counted.moved if config.pose.supervision else counted.unknown
    if not len(asked):
        return batch.source_T_target, {}
    sample, view = asked.unbind(dim=1)
    earlier = torch.zeros_like(batch.source_mask) if batch.source_time is None else batch.source_time < 0
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        motions = networks.pose(
            batch.image_augmented[sample], batch.pose_views[sample, view], earlier[sample, view]
        )
    predicted = batch.source_T_target.index_put((sample, view), motions)
    pose = torch.where(batch.pose_known[..., None, None], batch.source_T_target, predicted)
    if not config.pose.supervision:
        return pose, {}
    labelled = batch.through_time & batch.pose_known
    return pose, {"pose": config.pose.supervision * pose_labels(predicted, batch.source_T_target, labelled)}


def _self_supervision(scene: _Scene, student: DepthOutput) -> PerSample:
    config, batch = scene.config, scene.batch
    losses: PerSample = {}
    scales = config.synthesis.scales
    if config.synthesis.weight:
        each = [_photometric(scene, student.disparities[scale]) for scale in scales]
        losses["photometric"] = config.synthesis.weight * torch.stack(each).mean(dim=0)
    if config.smoothness.weight:
        rough = [
            smoothness(student.disparities[scale], shrunk(batch.image, 2**scale)) / 2**scale
            for scale in scales
        ]
        mean = torch.stack(rough).mean(dim=0)
        losses["smoothness"] = config.smoothness.weight * scene.held(mean)
    return losses


def _photometric(scene: _Scene, disparity: Float[Tensor, "batch 1 _ _"]) -> Float[Tensor, " batch"]:
    explained = scene.synthesis(disparity).explained
    weight = scene.photometric_weight
    return explained.loss if weight is None else (explained.error * weight).flatten(1).mean(dim=1)


def _guards(scene: _Scene, student: DepthOutput) -> PerSample:
    config, batch = scene.config, scene.batch
    losses: PerSample = {}
    if config.labels.weight and batch.depth_m is not None:
        losses["labels"] = config.labels.weight * depth_labels(
            student.disparity, batch.depth_m, batch.depth_is_label, config.labels
        )
    if scene.sky is not None:
        far = sky(student.disparity, scene.sky, scene.max_depth)
        losses["sky"] = config.sky.weight * scene.held(far)
    if config.contact.weight and scene.semantics is not None:
        apart = ground_contact(
            student.disparity,
            scene.semantics["vehicle"],
            scene.semantics["road"],
            scene.synthesis(student.disparity).moving,
            config.contact,
        )
        losses["contact"] = config.contact.weight * scene.held(apart)
    return losses


def _evidence(scene: _Scene, student: DepthOutput, teacher: DepthOutput) -> tuple[Explained, Explained]:
    with torch.no_grad():
        theirs = scene.synthesis(teacher.disparity).explained
        ours = scene.synthesis(student.disparity).explained
    return ours, theirs


def _watched(scene: _Scene, student: DepthOutput) -> dict[str, Float[Tensor, ""]]:
    """Return the share of moving pixels, and how depth compares with what was measured."""
    with torch.no_grad():
        disparity, depth_m = student.disparity, scene.batch.depth_m
        watched = {"median_depth": disparity_to_depth(disparity).median()}
        if scene.config.synthesis.weight:
            watched["moving"] = scene.synthesis(disparity).moving.float().mean()
        if depth_m is None:
            return watched
        errors, scales = [], []
        for one, truth in zip(disparity, depth_m, strict=True):
            measured = (truth > 0) & (truth < 80)
            if bool(measured.any()):
                depth, truth = disparity_to_depth(one[measured]), truth[measured]
                scales.append(truth.median() / depth.median())
                errors.append(((depth * scales[-1] - truth).abs() / truth).mean())
        if errors:
            watched["abs_rel"] = torch.stack(errors).mean()
            watched["scale"] = torch.stack(scales).mean()
        return watched


def _pictures(scene: _Scene, student: DepthOutput, teacher: DepthOutput | None) -> Pictures:
    seen = None
    if scene.config.synthesis.weight and scene.batch.sources.shape[1]:
        seen = scene.synthesis(student.disparity)
    return Pictures(
        image=scene.batch.image[0],
        disparity=student.disparity[0].detach(),
        teacher_disparity=None if teacher is None else teacher.disparity[0],
        warped=None if seen is None else seen.warped[0, 0],
        moving=None if seen is None else seen.moving[0].float(),
        sky=None if scene.sky is None else scene.sky[0],
    )
