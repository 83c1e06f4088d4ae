"""Depth learned from labels, where a synthetic world gives them.

    mean over labelled pixels of e(log D - log D*)  +  g * gradient mismatch of log D - log D*

where e is the absolute value ("log"), or |exp(.) - 1|, the relative error of depth itself ("relative"). Where
a pixel may belong to what is near or to what lies behind, as at every outline, the first is content with any
depth between; to the second far in place of near is by much the worse mistake, as it is to AbsRel.

Recipes that learn "from video alone" leave its weight at 0. This module does not know where labels come from.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.losses.averages import gradient_mismatch, masked_mean

_TANGENT_FROM = 5.0
"""The relative error's slope in log D is at most this."""


@dataclass(frozen=True, kw_only=True)
class DepthLabelsConfig:
    """How strongly labelled depth counts."""

    weight: float = 0.0
    """0: off, labels are not looked at."""
    error: Literal["log", "relative"] = "log"
    """Of a pixel. `relative` is for networks that know depth already: it is steep where they are far off."""
    gradient_weight: float = 0.5
    """g: of the edges, beside the depth itself."""
    gradient_scales: int = 3
    """At full resolution, half, a quarter, ..."""

    def __post_init__(self) -> None:
        for name in ("weight", "gradient_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"depth_labels.{name} is {getattr(self, name)}; expected at least 0")
        if self.gradient_scales < 1:
            raise ValueError(f"depth_labels.gradient_scales is {self.gradient_scales}; expected at least 1")


def depth_labels(
    disparity: Float[Tensor, "batch 1 height width"],
    depth_m: Float[Tensor, "batch 1 height width"],
    is_label: Bool[Tensor, " batch"],
    config: DepthLabelsConfig,
) -> Float[Tensor, " batch"]:
    """Return the distance to the labels; 0 for samples without.

    Args:
        disparity: As predicted, in 1/m.
        depth_m: 0 where not measured.
        is_label: Which samples may be learned from.
        config: How edges are weighed.
    """
    labelled = (depth_m > 0) & is_label[:, None, None, None]
    # log D* - log D = log D* + log d, where both are known.
    difference = torch.where(labelled, disparity.log() + depth_m.clamp(min=1e-6).log(), 0.0)
    error = difference.abs() if config.error == "log" else _relative(difference)
    loss = masked_mean(error, labelled)
    if config.gradient_weight:
        mismatch = gradient_mismatch(difference, labelled, config.gradient_scales)
        loss = loss + config.gradient_weight * mismatch
    return loss


def _relative(difference: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return |D / D* - 1| of log d - log d*; beyond five times too far, its tangent in log D."""
    log_ratio = -difference
    near = log_ratio.clamp(max=math.log(_TANGENT_FROM))
    return (near.exp() - 1).abs() + _TANGENT_FROM * (log_ratio - near)
