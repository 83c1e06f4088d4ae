"""Moving-object guard: a vehicle is not farther away than the road it stands on.

For each cell of the token grid that shows a vehicle, the contact is the nearest road cell below it in its
column, and

    mean over cells of  P(vehicle) * s * max(0, log D - log D_contact - margin)

with s the share of the cell's pixels that no view through time explains better than standing still: there a
vehicle at our own speed looks infinitely far, and becomes a hole. Depth of the contact is taken as given. A
car seen over another's roof has the wrong contact; its own evidence, s small, and the margin protect it.
Contact depth: Hoiem et al., "Putting Objects in Perspective" (IJCV 2008); the loss is ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class GroundContactConfig:
    """How strongly holes in vehicles are filled."""

    weight: float = 0.0
    """0: off."""
    confidence: float = 0.5
    """P(vehicle) and P(road) below this are taken as 0."""
    margin: float = 0.2
    """In log depth: within a factor of 1.2 a vehicle may be farther than its contact."""

    def __post_init__(self) -> None:
        if self.weight < 0 or self.margin < 0:
            raise ValueError(
                f"contact.weight is {self.weight} and margin {self.margin}; expected both at least 0"
            )
        if not 0 < self.confidence <= 1:
            raise ValueError(f"contact.confidence is {self.confidence}; expected above 0, at most 1")


def ground_contact(
    disparity: Float[Tensor, "batch 1 height width"],
    vehicle: Float[Tensor, "batch 1 rows columns"],
    road: Float[Tensor, "batch 1 rows columns"],
    explained: Bool[Tensor, "batch 1 _ _"],
    config: GroundContactConfig,
) -> Float[Tensor, " batch"]:
    """Return how far vehicles lie behind the road beneath them.

    Args:
        disparity: At any resolution.
        vehicle: Probability for each token.
        road: Likewise.
        explained: Where a view through time passes the auto-mask, at any resolution.
        config: How strict to be.
    """
    grid = (vehicle.shape[-2], vehicle.shape[-1])
    log_depth = -functional.adaptive_avg_pool2d(disparity.log(), grid)[:, 0]
    unexplained = 1 - functional.adaptive_avg_pool2d(explained.to(disparity), grid)[:, 0]
    contact, known = contact_log_depth(log_depth.detach(), road[:, 0] >= config.confidence)
    share = torch.where((vehicle[:, 0] >= config.confidence) & known, vehicle[:, 0] * unexplained, 0.0)
    behind = functional.relu(log_depth - contact - config.margin)
    return (share * behind).flatten(1).mean(dim=1)


def contact_log_depth(
    log_depth: Float[Tensor, "batch rows columns"], road: Bool[Tensor, "batch rows columns"]
) -> tuple[Float[Tensor, "batch rows columns"], Bool[Tensor, "batch rows columns"]]:
    """Return for each cell the depth of the nearest road cell below it, and whether there is one."""
    contact, known = torch.zeros_like(log_depth), torch.zeros_like(road)
    for row in range(log_depth.shape[1] - 2, -1, -1):
        below = road[:, row + 1]
        contact[:, row] = torch.where(below, log_depth[:, row + 1], contact[:, row + 1])
        known[:, row] = below | known[:, row + 1]
    return contact, known
