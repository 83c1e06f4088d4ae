"""Intrinsics learned with depth and pose, for video from unknown cameras.

One for each camera that the data names: its focal lengths are those of the data times a learned factor, and
the principal point is moved by a learned share of the image. View synthesis tells focal lengths where the
camera turns (Gordon et al., "Depth from Videos in the Wild", ICCV 2019; one camera for a video instead of a
prediction for each frame is our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.metadata import LearnedCamera


@dataclass(frozen=True, kw_only=True)
class IntrinsicsConfig:
    """What is learned of cameras that the data does not know; those are always learned."""

    learn: bool = False
    """Whether a run is refused that has no such camera."""
    square_pixels: bool = True
    """Whether both focal lengths have the same factor."""
    principal_point: bool = False
    """Whether the principal point may move; else it stays where the data puts it."""


class LearnedIntrinsics(nn.Module):
    """The corrections of some cameras; none at initialisation."""

    def __init__(self, config: IntrinsicsConfig, cameras: Sequence[LearnedCamera]) -> None:
        super().__init__()
        self.config = config
        self.start = tuple(cameras)
        self.log_focal = nn.Parameter(torch.zeros(len(cameras), 1 if config.square_pixels else 2))
        self.shift = nn.Parameter(torch.zeros(len(cameras), 2), requires_grad=config.principal_point)

    @property
    def focal_factor(self) -> Float[Tensor, "cameras axes"]:
        """What the data's focal lengths are multiplied by."""
        return self.log_focal.exp()

    def learned(self) -> tuple[LearnedCamera, ...]:
        """Return the cameras as they are known so far."""
        factors = self.focal_factor.detach().cpu().expand(-1, 2).tolist()
        return tuple(
            LearnedCamera(
                name=start.name, fx_per_width=x * start.fx_per_width, fy_per_height=y * start.fy_per_height
            )
            for start, (x, y) in zip(self.start, factors, strict=True)
        )

    def forward(
        self,
        intrinsics: Float[Tensor, "batch 3 3"],
        known: Bool[Tensor, " batch"],
        height: int,
        width: int,
        camera: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch 3 3"]:
        """Return the intrinsics, corrected where not known.

        Args:
            intrinsics: In pixels of images of this height and width.
            known: For which samples they are the camera's own.
            height: In pixels.
            width: In pixels.
            camera: Which camera each sample's is; None: the first.
        """
        which = torch.zeros_like(known, dtype=torch.int64) if camera is None else camera
        factors = self.focal_factor[which].expand(-1, 2)
        focal = torch.diag_embed(torch.cat((factors, torch.ones_like(factors[:, :1])), dim=1))
        moved = torch.zeros_like(intrinsics)
        moved[:, 0, 2], moved[:, 1, 2] = self.shift[which, 0] * width, self.shift[which, 1] * height
        # Only the upper left part scales: the principal point is not a focal length.
        corrected = torch.cat((intrinsics[..., :2] @ focal[:, :2, :2], intrinsics[..., 2:]), dim=-1) + moved
        return torch.where(known[:, None, None], intrinsics, corrected)
