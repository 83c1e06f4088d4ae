"""Multi-Alignment for Depth Distillation: scale first, then distance categories, features and depth.

It composes the losses of `training.losses`, each of which can be switched off.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from model.decoder import DepthOutput
from training.losses.category_alignment import category_alignment, category_logits
from training.losses.config import LossesConfig
from training.losses.depth_imitation import affine_imitation, depth_imitation, trusted
from training.losses.feature_imitation import FeatureProjections, feature_imitation
from training.losses.reprojection import Explained
from training.losses.scale_alignment import aligned_log_depth, scale_alignment
from training.networks.described import TaughtOutput
from training.step.synthesis import resample

CATEGORY_STRIDE = 4
_CATEGORIES_OF_DEPTH = 64
"""How many categories there are where the student tells them by its depth rather than by a head."""


def distillation(
    student: DepthOutput,
    teacher: DepthOutput,
    projections: FeatureProjections | None,
    config: LossesConfig,
    evidence: Callable[[], tuple[Explained, Explained]],
) -> dict[str, Float[Tensor, " batch"]]:
    """Return the weighted losses by name, those with weight 0 left out.

    Args:
        student: Of the image in other light.
        teacher: Of the same image as photographed, without gradient. Of one whose disparity has a factor and
            a shift of its own only these are imitated which that leaves: neither scale nor categories.
        projections: From the student's features to the teacher's.
        config: Weights and forms.
        evidence: Gives the view synthesis of the student's and of the teacher's disparity, where a gate asks.
    """
    if isinstance(teacher, TaughtOutput) and teacher.affine:
        weight = teacher.weight * _followed(student, config, evidence)
        imitated = affine_imitation(student.disparity, teacher.disparity, weight, config.imitation)
        return {"imitation": config.imitation.weight * imitated}
    losses: dict[str, Float[Tensor, " batch"]] = {}
    if config.scale.weight:
        losses["scale"] = config.scale.weight * scale_alignment(student.disparity, teacher.disparity)
    if config.category.weight:
        losses["category"] = config.category.weight * _category(student, teacher, config)
    if config.feature.weight and projections is not None:
        imitated = feature_imitation(projections(student.features), teacher.features)
        losses["feature"] = config.feature.weight * imitated
    if config.imitation.weight:
        losses["imitation"] = config.imitation.weight * _depth(student, teacher, config, evidence)
    return losses


def _category(student: DepthOutput, teacher: DepthOutput, config: LossesConfig) -> Float[Tensor, " batch"]:
    size = (student.disparity.shape[-2] // CATEGORY_STRIDE, student.disparity.shape[-1] // CATEGORY_STRIDE)
    wanted = aligned_log_depth(resample(teacher.disparity, size), config.scale)
    if config.category.student == "head":
        if student.category_logits is None:
            raise ValueError("the student has no category head; expected model.categories above 0")
        logits = student.category_logits.float()
    else:
        own = aligned_log_depth(resample(student.disparity, size), config.scale)
        logits = category_logits(own, _CATEGORIES_OF_DEPTH, config.category)
    return category_alignment(logits, wanted, config.category)


def _depth(
    student: DepthOutput,
    teacher: DepthOutput,
    config: LossesConfig,
    evidence: Callable[[], tuple[Explained, Explained]],
) -> Float[Tensor, " batch"]:
    ours = aligned_log_depth(student.disparity, config.scale)
    theirs = aligned_log_depth(teacher.disparity, config.scale)
    weight = _followed(student, config, evidence)
    if isinstance(teacher, TaughtOutput):
        weight = weight * teacher.weight
    return depth_imitation(ours, theirs, weight, config.imitation)


def _followed(
    student: DepthOutput, config: LossesConfig, evidence: Callable[[], tuple[Explained, Explained]]
) -> Float[Tensor, "batch 1 height width"]:
    """Return 1 where the teacher may be followed, and 0 where the photographs object."""
    if not config.imitation.gated:
        return torch.ones_like(student.disparity, dtype=torch.float32)
    coarse = trusted(*evidence(), config.imitation)
    return functional.interpolate(coarse.float(), student.disparity.shape[-2:], mode="nearest")
