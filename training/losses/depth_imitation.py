"""Depth imitation: the student's depth follows the teacher's, where the photographs do not object.

    mean over kept pixels of |log D_S - log D_T|  +  g * gradient mismatch of log D_S - log D_T
    kept:  E_T <= E_S + margin,  or no source view can tell

with E the minimum reprojection error of view synthesis with either depth, so that the student may pass its
teacher where its own depth explains the images better. Depths are aligned in scale first. The paper names
depth imitation; gate and form are ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.losses.averages import gradient_mismatch, masked_mean
from training.losses.reprojection import Explained


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
    kept: Bool[Tensor, "batch 1 height width"],
    config: DepthImitationConfig,
) -> Float[Tensor, " batch"]:
    """Return the distance to the teacher's depth over the kept pixels; depths aligned in scale."""
    difference = torch.where(kept, student_log_depth - teacher_log_depth.detach(), 0.0)
    loss = masked_mean(difference.abs(), kept)
    if config.gradient_weight:
        mismatch = gradient_mismatch(difference, kept, config.gradient_scales)
        loss = loss + config.gradient_weight * mismatch
    return loss
