"""What is known of the camera and the scene, and depth in the unit that follows from it.

It does not know files, or how disparity came to be.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from model.images import disparity_to_depth_map
from model.metadata import DepthScale
from service.answer import ScaleSource, Unit
from service.codec.point_cloud import intrinsics_of, resized_intrinsics
from service.errors import InvalidArgument
from service.request import Anchor, Intrinsics, KnownDistance, Lens
from service.scale import factor_from_distance, factor_from_height

Depth = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the network's depth is multiplied by, and what it is then."""

    factor: float
    unit: Unit
    source: ScaleSource


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a caller and a checkpoint know, the same for each picture of a run."""

    scale: DepthScale
    lens: Lens | None = None
    anchor: Anchor | None = None
    """Goes before the checkpoint's own scale."""

    def scale_of(self, disparity: Float32[np.ndarray, "rows columns"], height: int, width: int) -> Scale:
        """Return the scale of a picture.

        Args:
            disparity: As the network gave it.
            height: Of the upright picture, in pixels.
            width: Likewise.

        Raises:
            InvalidArgument: What is known of the scene does not fit it.
        """
        anchor = self.anchor
        if anchor is None:
            source: ScaleSource = "checkpoint" if self.scale.unit == "metre" else "none"
            return Scale(factor=self.scale.factor, unit=self.scale.unit, source=source)
        depth = disparity_to_depth_map(disparity, height, width)
        if isinstance(anchor, KnownDistance):
            factor = factor_from_distance(
                depth, x_px=anchor.x_px, y_px=anchor.y_px, distance_m=anchor.distance_m
            )
            return Scale(factor=factor, unit="metre", source="known-distance")
        lens = self.intrinsics(height, width, of=(height, width))
        if lens is None:
            raise InvalidArgument("a camera height needs a lens: intrinsics or a field of view")
        factor = factor_from_height(depth, lens, height_m=anchor.height_m)
        return Scale(factor=factor, unit="metre", source="camera-height")

    def intrinsics(self, height: int, width: int, *, of: tuple[int, int]) -> Intrinsics | None:
        """Return the intrinsics of a depth map's own pixels, made of a picture `of` that height and width."""
        if self.lens is None:
            return None
        whole = intrinsics_of(self.lens, *of)
        return resized_intrinsics(whole, width / of[1], height / of[0])
