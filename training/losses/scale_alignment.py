"""Agree on a scale before imitating: teacher and student may each be right up to a factor of their own.

    "median":  each depth is divided by its own median;  scale loss |log median D_S - log median D_T|
    "shared":  depths are compared as they are

With "median" no other imitation loss speaks of scale, so that a drift of scale does not look like an error
of shape; the scale loss alone carries the teacher's scale over, or leaves it free at weight 0. The median
ratio is the field's own alignment in evaluation (Zhou et al., CVPR 2017); to use it before distillation is
our choice.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScaleAlignmentConfig:
    """How teacher and student come to one scale."""

    mode: Literal["median", "shared"] = "median"
    weight: float = 0.1
    """Of the scale loss."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"scale.weight is {self.weight}; expected at least 0")


def aligned_log_depth(
    disparity: Float[Tensor, "batch 1 height width"], config: ScaleAlignmentConfig
) -> Float[Tensor, "batch 1 height width"]:
    """Return log depth, over its median where the mode says so. The median passes no gradient."""
    log_depth = -disparity.log()
    if config.mode == "shared":
        return log_depth
    return log_depth - log_median_depth(disparity).detach()[:, None, None, None]


def scale_alignment(
    student: Float[Tensor, "batch 1 _ _"], teacher: Float[Tensor, "batch 1 _ _"]
) -> Float[Tensor, " batch"]:
    """Return how far apart the scales of two disparities are, as |log| of their ratio."""
    return (log_median_depth(student) - log_median_depth(teacher)).abs()


def log_median_depth(disparity: Float[Tensor, "batch 1 _ _"]) -> Float[Tensor, " batch"]:
    """Return the logarithm of each sample's median depth."""
    return -disparity.flatten(1).median(dim=1).values.log()
