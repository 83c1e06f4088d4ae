"""Disparity to depth as it was asked for: its size, its unit, and what the unit rests on.

It does not know which network answered, or into which bytes the depth is written.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from model.images import disparity_to_depth_map
from model.metadata import DepthScale
from service.answer import ScaleSource, Unit
from service.codec import DecodedImage
from service.codec.point_cloud import intrinsics_of, resized_intrinsics
from service.request import CameraHeight, DepthRequest, Intrinsics, KnownDistance
from service.scale import factor_from_distance, factor_from_height

Depth = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A depth map in its final unit."""

    depth: Depth
    unit: Unit
    source: ScaleSource
    """What the unit rests on."""


def measure_depth(
    request: DepthRequest,
    image: DecodedImage,
    disparity: Float32[np.ndarray, "rows columns"],
    scale: DepthScale,
) -> Measured:
    """Return depth at the size and in the unit that was asked for.

    Args:
        request: How it is wanted, and what its caller knows of the scene.
        image: The photograph that was asked about.
        disparity: The network's answer.
        scale: What a unit of the network's depth is worth.

    Raises:
        InvalidArgument: What the caller knows of the scene does not fit it.
    """
    height, width = disparity.shape if request.size == "model" else (image.height, image.width)
    depth = disparity_to_depth_map(disparity, height, width, scale.factor)
    anchor = request.anchor
    if anchor is None:
        return Measured(
            depth=depth, unit=scale.unit, source="checkpoint" if scale.unit == "metre" else "none"
        )
    source: ScaleSource = "known-distance"
    if isinstance(anchor, KnownDistance):
        factor = factor_from_distance(
            depth,
            x_px=anchor.x_px * width / image.width,
            y_px=anchor.y_px * height / image.height,
            distance_m=anchor.distance_m,
        )
    else:
        factor, source = _factor_from_height(request, image, depth, anchor), "camera-height"
    return Measured(depth=depth * np.float32(factor), unit="metre", source=source)


def _factor_from_height(
    request: DepthRequest, image: DecodedImage, depth: Depth, anchor: CameraHeight
) -> float:
    lens = lens_of_map(request, image, depth)
    if lens is None:
        raise RuntimeError("a request with a camera height has a lens; DepthRequest sees to it")
    return factor_from_height(depth, lens, height_m=anchor.height_m)


def lens_of_map(request: DepthRequest, image: DecodedImage, depth: Depth) -> Intrinsics | None:
    """Return the intrinsics of the depth map's own pixels."""
    if request.lens is None:
        return None
    height, width = depth.shape
    whole = intrinsics_of(request.lens, image.height, image.width)
    return resized_intrinsics(whole, width / image.width, height / image.height)
