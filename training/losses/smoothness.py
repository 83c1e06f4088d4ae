"""Disparity changes where colour does: edge-aware smoothness.

    mean over pixels of |dx d*| exp(-|dx I|) + |dy d*| exp(-|dy I|),   d* = d / mean(d)

with |d I| averaged over the channels (Heise et al., "PM-Huber", ICCV 2013; Godard et al., CVPR 2017,
equation 3, and ICCV 2019 for the mean).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SmoothnessConfig:
    """How strongly smoothness counts."""

    weight: float = 1e-3
    """At full resolution; halved at every coarser scale. 0: off."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"smoothness.weight is {self.weight}; expected at least 0")


def smoothness(
    disparity: Float[Tensor, "batch 1 height width"], image: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, " batch"]:
    """Return the roughness of each sample's disparity, away from the edges of its image."""
    relative = disparity / (disparity.mean(dim=(1, 2, 3), keepdim=True) + 1e-7)
    return _along(relative, image, dim=-1) + _along(relative, image, dim=-2)


def _along(
    disparity: Float[Tensor, "batch 1 height width"], image: Float[Tensor, "batch 3 height width"], dim: int
) -> Float[Tensor, " batch"]:
    with torch.no_grad():
        calm = torch.exp(-image.diff(dim=dim).abs().mean(dim=1, keepdim=True))
    return (disparity.diff(dim=dim).abs() * calm).flatten(1).mean(dim=1)
