"""Depth imitation: the student's depth follows the teacher's, where the photographs do not object.

    mean over kept pixels of |log D_S - log D_T|  +  g * gradient mismatch of log D_S - log D_T
    kept:  E_T <= E_S + margin,  or no source view can tell

with E the minimum reprojection error of view synthesis with either depth, so that the student may pass its
teacher where its own depth explains the images better. Depths are aligned in scale first. The paper names
depth imitation; gate and form are ours.

Of a teacher of others whose disparity d is right up to a factor and a shift of its own in each image:

    mean over kept pixels of |n(d_S) - n(d_T)|  +  g * gradient mismatch of n(d_S) - n(d_T)
    n(d) = (d - t(d)) / s(d),  t the median of d,  s the mean of |d - t(d)|

the scale- and shift-invariant loss of Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020,
equations 5 to 7. Both sides are normalised, so that a student gains nothing by making its disparity flat.
Means are by the teacher's confidence, where it states any.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.losses.averages import gradient_mismatch, weighted_mean
from training.losses.reprojection import Explained

_FLAT = 1e-3
"""The least spread of disparity, over its median: less is one constant, and is not blown up."""
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class DepthImitationConfig:
    """How strongly the teacher's depth is followed, and where."""

    weight: float = 0.5
    """0: off."""
    gated: bool = True
    """Whether photometric evidence may overrule the teacher; costs one more view synthesis."""
    margin: float = 0.01
    """How much worse the teacher's view synthesis may be, on the photometric error's scale of 0 to 1."""
    gradient_weight: float = 1.0
    """g: of the edges, beside the depth itself."""
    gradient_scales: int = 3

    def __post_init__(self) -> None:
        for name in ("weight", "margin", "gradient_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"imitation.{name} is {getattr(self, name)}; expected at least 0")
        if self.gradient_scales < 1:
            raise ValueError(f"imitation.gradient_scales is {self.gradient_scales}; expected at least 1")


def trusted(
    student: Explained, teacher: Explained, config: DepthImitationConfig
) -> Bool[Tensor, "batch 1 height width"]:
    """Return where the teacher may be followed: not where its depth explains the images clearly worse."""
    worse = teacher.error > student.error + config.margin
    return ~(worse & student.counted & teacher.counted)[:, None]


def depth_imitation(
    student_log_depth: Float[Tensor, "batch 1 height width"],
    teacher_log_depth: Float[Tensor, "batch 1 height width"],
    weight: Float[Tensor, "batch 1 height width"],
    config: DepthImitationConfig,
) -> Float[Tensor, " batch"]:
    """Return the distance to the teacher's depth, each pixel by its weight; depths aligned in scale."""
    difference = torch.where(weight > 0, student_log_depth - teacher_log_depth.detach(), 0.0)
    loss = weighted_mean(difference.abs(), weight)
    if config.gradient_weight:
        mismatch = gradient_mismatch(difference, weight, config.gradient_scales)
        loss = loss + config.gradient_weight * mismatch
    return loss


def affine_imitation(
    student: Float[Tensor, "batch 1 height width"],
    teacher: Float[Tensor, "batch 1 height width"],
    weight: Float[Tensor, "batch 1 height width"],
    config: DepthImitationConfig,
) -> Float[Tensor, " batch"]:
    """Return how far apart two disparities are that may each have a factor above 0 and a shift of their own.

    Args:
        student: Disparity.
        teacher: Likewise, without gradient.
        weight: How much each pixel counts; 0 where the teacher says nothing.
        config: How edges are weighed.
    """
    middle, spread = _place(student, weight)
    floor = _FLAT * middle.detach().abs() + _TINY
    ours = (student - middle) / spread.maximum(floor)
    middle, spread = _place(teacher.detach(), weight)
    theirs = (teacher.detach() - middle) / spread.clamp(min=_TINY)
    difference = (ours - theirs) * (weight > 0)
    loss = weighted_mean(difference.abs(), weight)
    if config.gradient_weight:
        loss = loss + config.gradient_weight * gradient_mismatch(difference, weight, config.gradient_scales)
    return loss


def fitted(
    teacher: Float[Tensor, "batch 1 height width"],
    student: Float[Tensor, "batch 1 height width"],
    weight: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """Return a teacher's disparity by the student's median and spread: positive, and without gradient."""
    middle, spread = _place(teacher, weight)
    ours, wide = _place(student.detach(), weight)
    brought = (teacher - middle) / spread.clamp(min=_TINY) * wide + ours
    return brought.maximum(student.detach().amin(dim=(1, 2, 3), keepdim=True))


def _place(
    disparity: Float[Tensor, "batch 1 height width"], weight: Float[Tensor, "batch 1 height width"]
) -> tuple[Float[Tensor, "batch 1 1 1"], Float[Tensor, "batch 1 1 1"]]:
    """Return each sample's median and mean distance from it, over what counts; zeros where nothing does."""
    counted = disparity.masked_fill(weight <= 0, float("nan")).flatten(1)
    middle = counted.nanmedian(dim=1).values.nan_to_num(0.0)[:, None, None, None]
    return middle, weighted_mean((disparity - middle).abs(), weight)[:, None, None, None]
