"""Sky guard: what the foundation model takes for sky goes to the farthest depth.

    mean over pixels of w log(d / d_min),   w = P(sky) where that is at least the confidence, else 0

View synthesis says nothing of flat colour, so the sky comes out near; semantics know it (ours). In log
disparity the pull is as strong far away as near.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class SkyConfig:
    """How strongly the sky is pushed away."""

    weight: float = 0.0
    """0: off; 0.02 is a strong pull."""
    confidence: float = 0.5
    """P(sky) below this is taken as 0: tokens at the skyline show both. Of deep blue or burnt-out skies the
    shipped probe is less sure than of those that it was fitted on."""
    exclude: bool = True
    """Whether view synthesis leaves the sky alone."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"sky.weight is {self.weight}; expected at least 0")
        if not 0 < self.confidence <= 1:
            raise ValueError(f"sky.confidence is {self.confidence}; expected above 0, at most 1")


def sky_weights(
    probability: Float[Tensor, "batch 1 rows columns"], height: int, width: int, config: SkyConfig
) -> Float[Tensor, "batch 1 height width"]:
    """Return w for every pixel of P(sky) for every token."""
    fine = functional.interpolate(probability, (height, width), mode="bilinear", align_corners=False)
    return torch.where(fine >= config.confidence, fine, 0.0)


def sky(
    disparity: Float[Tensor, "batch 1 height width"],
    weights: Float[Tensor, "batch 1 height width"],
    max_depth: float,
) -> Float[Tensor, " batch"]:
    """Return the mean over all pixels of the log of the farthest depth over the sky's."""
    return (weights * (disparity * max_depth).log()).flatten(1).mean(dim=1)
