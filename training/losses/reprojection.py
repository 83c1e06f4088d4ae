"""Which source view explains a pixel, and which pixels say nothing: minimum over sources, and auto-masking.

    loss = mean over pixels of  min over sources s of  error(target, warped s)

so that a pixel hidden in one view is explained by another; and a view taken at another time counts only
where its warped image is better than the view itself, unwarped: pixels that look the same through time
belong to objects at our own speed, or to a waiting camera (Godard et al., "Digging into Self-Supervised
Monocular Depth Estimation", ICCV 2019, sections 3.2 and 3.3).

Two choices are ours. Ties are broken by a constant margin rather than by noise, so that a step is a pure
function. And the mask is for each view, not for all together: a pixel that stands still through time is
left to the stereo view, where there is one.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Automask = Literal["all", "unknown-pose", "none"]


@dataclass(frozen=True, kw_only=True)
class ReprojectionConfig:
    """Which pixels of which views count."""

    automask: Automask = "all"
    """For which views through time: all, or those whose pose is learned. Where the pose is known, so is that
    the camera moves; but other things may move at its speed."""
    automask_margin: float = 1e-5
    """By how much the warped view has to be better than the unwarped one."""
    mask_outside: bool = True
    """Whether pixels whose place is outside a source view are not compared with it, rather than with its
    nearest border."""

    def __post_init__(self) -> None:
        if self.automask_margin < 0:
            raise ValueError(f"automask_margin is {self.automask_margin}; expected at least 0")


@dataclass(frozen=True, kw_only=True)
class Explained:
    """How well the best source view explains each pixel."""

    error: Float[Tensor, "batch height width"]
    """0 where no view may be compared."""
    counted: Bool[Tensor, "batch height width"]
    """Where any view may be compared."""

    @property
    def loss(self) -> Float[Tensor, " batch"]:
        """The mean over all pixels, those that say nothing counting 0."""
        return self.error.flatten(1).mean(dim=1)


def moves(
    unwarped_error: Float[Tensor, "batch views height width"],
    warped_error: Float[Tensor, "batch views height width"],
    masked_views: Bool[Tensor, "batch views"],
    margin: float,
) -> Bool[Tensor, "batch views height width"]:
    """Return where a view passes the auto-mask.

    Args:
        unwarped_error: Between the target and the views as they are.
        warped_error: Between the target and the warped views.
        masked_views: The views that auto-masking is about; the others pass everywhere.
        margin: By how much the warped view has to be better than the best unwarped of these views.
    """
    standing = unwarped_error.masked_fill(~masked_views[..., None, None], math.inf).amin(dim=1, keepdim=True)
    return (warped_error + margin < standing) | ~masked_views[..., None, None]


def minimum(
    error: Float[Tensor, "batch views height width"], usable: Bool[Tensor, "batch views height width"]
) -> Explained:
    """Return the least error among the views that may be compared, pixel by pixel."""
    least = error.masked_fill(~usable, math.inf).min(dim=1).values
    counted = usable.any(dim=1)
    return Explained(error=torch.where(counted, least, 0.0), counted=counted)
