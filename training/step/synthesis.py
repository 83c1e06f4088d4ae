"""View synthesis for one batch: how well a disparity explains the target by its source views.

What does not depend on disparity (small images, statistics of the target, errors of the unwarped views) is
computed once and serves every scale, and the teacher too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from training.data.batch import Batch
from training.geometry import Warped, resize_intrinsics, warp
from training.losses.config import LossesConfig
from training.losses.photometric import PhotometricError
from training.losses.reprojection import Explained, minimum, moves

_WHOLE = 1 - 1e-3
"""A warped mask below this took part of its value from a pixel that is masked."""


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What came of one disparity."""

    explained: Explained
    moving: Bool[Tensor, "batch 1 height width"]
    """Where any view through time passes the auto-mask."""
    warped: Float[Tensor, "batch views 3 height width"]


class ViewSynthesis:
    """A batch's views at the resolution of the losses, ready to judge disparities.

    Args:
        batch: Images, and which views there are.
        source_T_target: All poses, those known and those predicted.
        intrinsics: In pixels of the batch's images.
        config: Resolution, error and masks.
        depth_learns: For which views the error reaches disparity; elsewhere only the pose learns.
    """

    def __init__(
        self,
        batch: Batch,
        source_T_target: Float[Tensor, "batch views 4 4"],
        intrinsics: Float[Tensor, "batch 3 3"],
        config: LossesConfig,
        depth_learns: Bool[Tensor, "batch views"] | None = None,
    ) -> None:
        stride = config.synthesis.stride
        self.target = shrunk(batch.image, stride)
        small = shrunk(batch.sources.flatten(0, 1), stride)
        self._sources = small.reshape(*batch.sources.shape[:3], *small.shape[-2:])
        self._mask = batch.source_mask
        self._shown = None if batch.mask is None else shrunk(batch.mask.float(), stride) == 1
        self._pose = source_T_target
        self._intrinsics = resize_intrinsics(intrinsics, 1 / stride, 1 / stride)
        self._config = config
        self._depth_learns = depth_learns
        self._error = PhotometricError(self.target, config.photometric)
        self._through_time = batch.through_time
        self._automasked = self._through_time & _automask_applies(batch, config)
        with torch.no_grad():
            # Photographs without any other view: there is nothing to compare.
            self._standing = self._error(self._sources) if batch.sources.shape[1] else None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels at which images are compared."""
        return self.target.shape[-2], self.target.shape[-1]

    def __call__(self, disparity: Float[Tensor, "batch 1 _ _"]) -> Synthesis:
        """Judge a disparity of any resolution; it is brought to that of the images first."""
        if self._standing is None:
            return self._nothing()
        at_size = resample(disparity, self.size)
        warped, shown = self._warped(self._routed(at_size))
        error = self._error(warped.images)
        settings = self._config.reprojection
        usable = self._mask[..., None, None]
        if settings.mask_outside:
            usable = usable & warped.valid
        if shown is not None:
            usable = usable & shown
        with torch.no_grad():
            passes = moves(self._standing, error, self._automasked, settings.automask_margin)
            moving = (passes & usable & self._through_time[..., None, None]).any(dim=1, keepdim=True)
        return Synthesis(
            explained=minimum(error, usable & passes), moving=moving, warped=warped.images.detach()
        )

    def _warped(
        self, disparity: Float[Tensor, "batch _ height width"]
    ) -> tuple[Warped, Bool[Tensor, "batch views height width"] | None]:
        """Return the warped views, and where neither they nor the target show what moves with the camera."""
        if self._shown is None:
            return warp(self._sources, disparity, self._intrinsics, self._pose), None
        views = self._sources.shape[1]
        layer = self._shown[:, None].expand(-1, views, -1, -1, -1).to(self._sources.dtype)
        warped = warp(torch.cat((self._sources, layer), dim=2), disparity, self._intrinsics, self._pose)
        shown = (warped.images[:, :, 3] > _WHOLE) & self._shown
        return Warped(images=warped.images[:, :, :3], valid=warped.valid), shown

    def _nothing(self) -> Synthesis:
        blank = self.target.new_zeros(len(self.target), *self.size)
        never = torch.zeros_like(blank, dtype=torch.bool)
        return Synthesis(
            explained=Explained(error=blank, counted=never), moving=never[:, None], warped=self._sources
        )

    def _routed(
        self, disparity: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch _ height width"]:
        if self._depth_learns is None:
            return disparity
        return torch.where(self._depth_learns[..., None, None], disparity, disparity.detach())


def shrunk(
    images: Float[Tensor, "batch channels height width"], stride: int
) -> Float[Tensor, "batch channels _ _"]:
    """Return images at a coarser stride, each pixel the mean of those it covers."""
    return images if stride == 1 else functional.avg_pool2d(images, stride)


def resample(disparity: Float[Tensor, "batch 1 _ _"], size: tuple[int, int]) -> Float[Tensor, "batch 1 _ _"]:
    """Return disparity at another size: the mean of covered pixels, or bilinear between them."""
    height = disparity.shape[-2]
    if height == size[0]:
        return disparity
    if height > size[0]:
        return shrunk(disparity, height // size[0])
    return functional.interpolate(disparity, size, mode="bilinear", align_corners=False)


def _automask_applies(batch: Batch, config: LossesConfig) -> Bool[Tensor, "batch views"]:
    which = config.reprojection.automask
    if which == "all":
        return torch.ones_like(batch.source_mask)
    return ~batch.pose_known if which == "unknown-pose" else torch.zeros_like(batch.source_mask)
