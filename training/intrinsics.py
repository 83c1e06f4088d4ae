"""Intrinsics learned with depth and pose, for video from an unknown camera.

One camera for a whole run: its focal lengths are those of the data times a learned factor, and the principal
point is moved by a learned share of the image. View synthesis tells focal lengths where the camera turns
(Gordon et al., "Depth from Videos in the Wild", ICCV 2019; one camera instead of a prediction for each frame
is our choice). It does not know how the first guess was made.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class IntrinsicsConfig:
    """What is learned of the camera, where the data does not know it."""

    learn: bool = False
    square_pixels: bool = True
    """Whether both focal lengths have the same factor."""
    principal_point: bool = False
    """Whether the principal point may move; else it stays where the data puts it."""


class LearnedIntrinsics(nn.Module):
    """The corrections of one camera; none at initialisation."""

    def __init__(self, config: IntrinsicsConfig) -> None:
        super().__init__()
        self.config = config
        self.log_focal = nn.Parameter(torch.zeros(1 if config.square_pixels else 2))
        self.shift = nn.Parameter(torch.zeros(2), requires_grad=config.principal_point)

    @property
    def focal_factor(self) -> Float[Tensor, " axes"]:
        """What the data's focal lengths are multiplied by."""
        return self.log_focal.exp()

    def forward(
        self, intrinsics: Float[Tensor, "batch 3 3"], known: Bool[Tensor, " batch"], height: int, width: int
    ) -> Float[Tensor, "batch 3 3"]:
        """Return the intrinsics, corrected where not known.

        Args:
            intrinsics: In pixels of images of this height and width.
            known: For which samples they are the camera's own.
            height: In pixels.
            width: In pixels.
        """
        size = intrinsics.new_tensor([width, height])
        focal = torch.diag_embed(torch.cat((self.focal_factor.expand(2), intrinsics.new_ones(1))))
        moved = torch.zeros_like(intrinsics)
        moved[:, :2, 2] = self.shift * size
        # Only the upper left part scales: the principal point is not a focal length.
        corrected = torch.cat((intrinsics[..., :2] @ focal[:2, :2], intrinsics[..., 2:]), dim=-1) + moved
        return torch.where(known[:, None, None], intrinsics, corrected)
