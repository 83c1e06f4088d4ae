"""Metres for a depth map, from what is known of its lens and its scene.

Nothing is guessed: where what the caller knows does not fit the picture, the result is an error.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from model.disparity import depth_to_disparity, disparity_to_depth
from model.images import disparity_to_depth_map
from model.metadata import DepthScale
from service.codec.points import POINT_ERROR, PointFit, fit_points
from service.contract.answer import ScaleSource, Unit
from service.contract.basis import Basis, KnownFit
from service.contract.errors import InvalidArgument

Depth = Float32[np.ndarray, "height width"]
GROUND_ERROR = 0.11
"""How far the scale by a camera's height is usually off, as a share of it, beside the ground's scatter: all
of the ground is too near or too far, or it rises. The shipped student was off by less than 0.108 in 68 % of
46 frames that it did not know (benchmarks/camera_height.py)."""
_WINDOW = 2
"""Pixels on each side of a known one, whose median counts."""
_FARTHEST = 1e4
"""What a shift of disparity pushes beyond this, in metres, has no depth: it may be past infinity."""
_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, kw_only=True)
class KnownDepths:
    """Pixels of a picture whose depth is known."""

    x_px: Float64[np.ndarray, " points"]
    y_px: Float64[np.ndarray, " points"]
    depth_m: Float64[np.ndarray, " points"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a network's depth becomes the answer's: ``the depth's inverse is disparity / factor + shift``."""

    factor: float
    shift: float = 0.0
    unit: Unit
    source: ScaleSource
    basis: Basis

    def map(self, disparity: Float32[np.ndarray, "rows columns"], height: int, width: int) -> Depth:
        """Return the depth map of a network's disparity, at this size; NaN where there is none.

        Raises:
            ValueError: The disparity holds no number at all.
        """
        if not self.shift:
            return disparity_to_depth_map(disparity, height, width, self.factor)
        return self.applied(disparity_to_depth_map(disparity, height, width))

    def farthest(self, network_farthest: float) -> float:
        """Return the farthest depth of maps, given the farthest that the network can return."""
        disparity = 1 / (network_farthest * self.factor) + self.shift
        return disparity_to_depth(disparity) if disparity > 0 else math.inf

    def applied(self, depth: Depth) -> Depth:
        """Return a network's depth in the answer's unit."""
        if not self.shift:
            return depth * np.float32(self.factor)
        disparity = depth_to_disparity(depth) * np.float32(1 / self.factor) + np.float32(self.shift)
        disparity[~(disparity > 1 / _FARTHEST)] = np.nan
        return disparity_to_depth(disparity)


def own_scale(scale: DepthScale, fy_per_height: float | None, source: ScaleSource) -> Scale:
    """Return the scale of a checkpoint, for a picture's lens where both lenses are known.

    Args:
        scale: The checkpoint's.
        fy_per_height: Of the picture; None where its lens is not known.
        source: What the metres rest on once they are adapted to that.
    """
    if scale.unit != "metre":
        return Scale(factor=scale.factor, unit="relative", source="none", basis=Basis())
    change = None if fy_per_height is None else scale.lens_factor(fy_per_height)
    if change is None:
        return Scale(
            factor=scale.factor,
            unit="metre",
            source="checkpoint",
            basis=Basis(fy_per_height=scale.fy_per_height),
        )
    return Scale(
        factor=scale.factor * change,
        unit="metre",
        source=source,
        basis=Basis(fy_per_height=fy_per_height),
    )


def scale_from_distance(depth: Depth, *, x_px: float, y_px: float, distance_m: float) -> Scale:
    """Return the scale that gives one pixel its distance.

    Args:
        depth: In the network's unit.
        x_px: Where the distance is known, in pixels of `depth`.
        y_px: Likewise.
        distance_m: Along the optical axis.

    Raises:
        InvalidArgument: The pixel is outside the image, or has no depth.
    """
    height, width = depth.shape
    if not (0 <= x_px < width and 0 <= y_px < height):
        raise InvalidArgument(
            f"the known pixel ({x_px:g}, {y_px:g}) is outside; expected x < {width} and y < {height}"
        )
    column, row = int(x_px), int(y_px)
    window = depth[max(row - _WINDOW, 0) : row + _WINDOW + 1, max(column - _WINDOW, 0) : column + _WINDOW + 1]
    window = window[np.isfinite(window)]
    if not window.size:
        raise InvalidArgument(f"the known pixel ({x_px:g}, {y_px:g}) lies where the map has no depth")
    middle = float(np.median(window))
    spread = _MAD_TO_DEVIATION * float(np.median(np.abs(window / middle - 1)))
    return Scale(
        factor=distance_m / middle,
        unit="metre",
        source="known-distance",
        basis=Basis(uncertainty=math.hypot(POINT_ERROR, spread)),
    )


def scale_from_points(depth: Depth, known: KnownDepths, own: Scale, *, affine: bool) -> Scale:
    """Return the scale, and the shift of disparity where it is needed or proven, that fit known points best.

    Args:
        depth: In the network's unit.
        known: In pixels of `depth`.
        own: The checkpoint's scale, which counts as one more point where it is metric.
        affine: Whether the network's disparity has an unknown shift.

    Raises:
        InvalidArgument: Too few points lie in the picture.
    """
    height, width = depth.shape
    inside = (known.x_px >= 0) & (known.x_px < width) & (known.y_px >= 0) & (known.y_px < height)
    column, row = known.x_px[inside].astype(np.int64), known.y_px[inside].astype(np.int64)
    disparity = depth_to_disparity(depth[row, column].astype(np.float64))
    depth_m = known.depth_m[inside]
    there = np.isfinite(disparity)
    usual = own.factor if own.unit == "metre" else None
    fit = fit_points(disparity[there], depth_m[there], affine=affine, usual_metres_per_unit=usual)
    return Scale(
        factor=1 / fit.scale,
        shift=fit.shift,
        unit="metre",
        source="known-points",
        basis=Basis(uncertainty=fit.uncertainty, fit=_described(fit)),
    )


def with_basis(scale: Scale, **changes: object) -> Scale:
    """Return a scale of which more is known."""
    return replace(scale, basis=replace(scale.basis, **changes))  # type: ignore[arg-type]


def _described(fit: PointFit) -> KnownFit:
    return KnownFit(points=fit.points, agreeing=fit.agreeing, residual=fit.residual, shift=fit.shift != 0.0)
