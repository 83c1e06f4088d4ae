"""Depth learned from labels, where a synthetic world gives them.

    mean over labelled pixels of |log D - log D*|  +  g * gradient mismatch of log D - log D*
    +  a * mean of |(log D - m(D)) - (log D* - m(D*))|

m is an image's median log depth. The last is the error as it is judged under median scaling (Zhou et al.,
"Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017): the two medians need not be of the
same pixels, so an image of about the right depth everywhere may still be scaled wrongly. The mean of what
lies between the 45th and the 55th percentile stands for the median, and passes the gradient on to all of it.

Recipes that learn from view synthesis alone leave its weight at 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.losses.averages import gradient_mismatch, masked_mean

_AROUND_MEDIAN = (0.45, 0.55)
_EVERY = 2
"""Percentiles are those of every second pixel of every second row."""


@dataclass(frozen=True, kw_only=True)
class DepthLabelsConfig:
    """How strongly labelled depth counts."""

    weight: float = 0.0
    """0: off, labels are not looked at."""
    gradient_weight: float = 0.5
    """g: of the edges, beside the depth itself."""
    gradient_scales: int = 3
    """At full resolution, half, a quarter, ..."""
    aligned_weight: float = 0.0
    """a: of the depth once medians are scaled to agree, beside the depth as it is."""

    def __post_init__(self) -> None:
        for name in ("weight", "gradient_weight", "aligned_weight"):
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
    log_disparity, log_label = disparity.log(), depth_m.clamp(min=1e-6).log()
    # log D* - log D = log D* + log d, where both are known.
    difference = torch.where(labelled, log_disparity + log_label, 0.0)
    loss = masked_mean(difference.abs(), labelled)
    if config.gradient_weight:
        mismatch = gradient_mismatch(difference, labelled, config.gradient_scales)
        loss = loss + config.gradient_weight * mismatch
    if config.aligned_weight:
        apart = _median(log_disparity, labelled) + _median(log_label, labelled)
        loss = loss + config.aligned_weight * masked_mean((difference - apart).abs(), labelled)
    return loss


def _median(
    values: Float[Tensor, "batch 1 height width"], known: Bool[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch 1 1 1"]:
    """Return the mean of each sample's values around its median; 0 where none is known."""
    with torch.no_grad():
        some = values.masked_fill(~known, torch.nan)[..., ::_EVERY, ::_EVERY].flatten(1).float()
        bounds = some.nanquantile(torch.linspace(*_AROUND_MEDIAN, 2, device=some.device), dim=1).to(
            values.dtype
        )
        low, high = bounds[..., None, None, None]
        around = known & (values >= low) & (values <= high)
    return masked_mean(values, around)[:, None, None, None]
