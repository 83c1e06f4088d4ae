"""All that a run trains, and all that it only asks: built from the settings, on one device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from model.checkpoint import load_checkpoint
from model.foundation import FoundationEncoder
from model.metadata import LearnedCamera
from model.network import StudentNet, TeacherNet, build
from training.config import TrainConfig
from training.losses.feature_imitation import FeatureProjections
from training.networks.described import DescribedTeacher, is_described
from training.networks.intrinsics import LearnedIntrinsics
from training.networks.pose import PoseNetwork
from training.networks.semantics import SHIPPED_PROBE, TokenProbe, load_probe
from training.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What is asked and never trained; it stays out of the run's state."""

    teacher: Teacher | DescribedTeacher | None = None
    foundation: FoundationEncoder | None = None
    """Gives tokens where the batch has none; the teacher's, or the trained network's own."""
    probe: TokenProbe | None = None


class Networks(nn.Module):
    """What is trained.

    Args:
        depth: The network that becomes the checkpoint.
        pose: Tells how the camera moved, where the data does not.
        intrinsics: Corrects cameras; None where all are known.
        projections: For feature imitation; None without a teacher.
        frozen: What is asked and never trained.
    """

    def __init__(
        self,
        depth: TeacherNet | StudentNet,
        pose: PoseNetwork,
        intrinsics: LearnedIntrinsics | None = None,
        projections: FeatureProjections | None = None,
        frozen: Frozen | None = None,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.pose = pose
        self.intrinsics = intrinsics
        self.projections = projections
        # In a tuple, so that its weights are neither trained nor saved with ours.
        self._frozen = (frozen or Frozen(),)

    @property
    def frozen(self) -> Frozen:
        """What is asked and never trained."""
        return self._frozen[0]

    @property
    def learned_cameras(self) -> tuple[LearnedCamera, ...]:
        """The cameras that are learned, as they are known so far."""
        return () if self.intrinsics is None else self.intrinsics.learned()

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that learn, by name."""
        return {name: tensor for name, tensor in self.named_parameters() if tensor.requires_grad}


def build_networks(
    config: TrainConfig, device: torch.device, cameras: Sequence[LearnedCamera] = ()
) -> Networks:
    """Build everything, or load it where the settings name a checkpoint.

    Args:
        config: Of the run.
        device: Where to.
        cameras: Those that are to be learned, as they start.

    Raises:
        ValueError: A checkpoint is of another model than the settings say.
        CheckpointError: A checkpoint cannot be used.
        WeightsError: Weights cannot be had.
    """
    torch.manual_seed(config.seed)
    depth = _depth_network(config)
    teacher = None
    if config.teacher is not None and not is_described(config.teacher):
        teacher, _ = load_checkpoint(config.teacher, foundation_weights=config.foundation_weights)
        teacher.requires_grad_(False)
        teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    asked = teacher if teacher is not None else depth
    foundation = asked.foundation if isinstance(asked, TeacherNet) else None
    probe = None
    if config.losses.semantic:
        probe = load_probe(SHIPPED_PROBE if config.semantics == "shipped" else config.semantics).to(device)
        if foundation is None:
            foundation = FoundationEncoder(probe.foundation, config.foundation_weights).to(device)
        probe.check(foundation)
    projections = None
    if teacher is not None and config.losses.feature.weight:
        projections = FeatureProjections(
            config.model.decoder_channels[:3], teacher.config.decoder_channels[:3]
        )
    networks = Networks(
        depth,
        PoseNetwork(config.pose),
        LearnedIntrinsics(config.intrinsics, cameras) if cameras else None,
        projections,
        Frozen(
            teacher=_described_teacher(config, device)
            if teacher is None
            else Teacher(teacher, config.asking, features=bool(config.losses.feature.weight)),
            foundation=foundation,
            probe=probe,
        ),
    )
    return networks.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _described_teacher(config: TrainConfig, device: torch.device) -> DescribedTeacher | None:
    """Open a network of others, where one teaches; it has no features to imitate.

    Raises:
        ValueError: Nothing would be learned from it.
    """
    if config.teacher is None:
        return None
    model, losses = config.model, config.losses
    teacher = DescribedTeacher(config.teacher, config.asking, model.height, model.width, device)
    if teacher.affine and not losses.imitation.weight:
        raise ValueError(
            f"{config.teacher} knows disparity up to a factor and a shift, which losses.imitation alone "
            "learns from, and its weight is 0; expected --losses.imitation.weight above 0"
        )
    if teacher.affine and losses.scale.mode == "shared":
        raise ValueError(
            f"losses.scale.mode is 'shared', and {config.teacher} has no scale to share: it knows disparity "
            "up to a factor and a shift; expected --losses.scale.mode median"
        )
    return teacher


def _depth_network(config: TrainConfig) -> TeacherNet | StudentNet:
    if config.initial is None:
        return build(
            config.model,
            foundation_weights=config.foundation_weights,
            backbone_weights=config.backbone_weights,
        )
    depth, metadata = load_checkpoint(config.initial, foundation_weights=config.foundation_weights)
    for name in ("role", "backbone", "foundation", "aggregation", "aggregation_width", "decoder_channels"):
        found, wanted = getattr(metadata.config, name), getattr(config.model, name)
        if found != wanted:
            raise ValueError(
                f"{config.initial} has model.{name} {found!r}; the settings say {wanted!r}. "
                f"Expected the same model; --model.{name.replace('_', '-')} sets it"
            )
    fresh = build(config.model, foundation_weights="random", backbone_weights="random")
    # What is handed out lacks the heads that only training needs: they begin anew.
    fresh.load_state_dict(depth.state_dict(), strict=metadata.storage.train_only_heads)
    return fresh
