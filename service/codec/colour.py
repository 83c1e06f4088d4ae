"""Depth as colours for people to look at.

Colours go by disparity, in which a road recedes evenly, with the near at the bright end.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from model.disparity import depth_to_disparity, disparity_to_depth
from service.contract.errors import InvalidArgument

_OPENCV: Mapping[str, int] = {
    "cividis": cv2.COLORMAP_CIVIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "turbo": cv2.COLORMAP_TURBO,
    "viridis": cv2.COLORMAP_VIRIDIS,
}

_RAMP = np.arange(256, dtype=np.uint8)

COLOUR_MAPS: Mapping[str, UInt8[np.ndarray, "256 3"]] = {
    "gray": np.repeat(_RAMP[:, None], 3, axis=1),
    **{
        name: cv2.applyColorMap(_RAMP, number).reshape(256, 3)[:, ::-1].copy()
        for name, number in _OPENCV.items()
    },
}
"""RGB from far to near, by name."""

_EDGE = 0.01
"""The share of pixels at each end that the image's own range leaves out: single outliers dim the rest."""
_STEP = 4
"""The image's own range is taken from every fourth pixel of every fourth row."""


def colour_depth(
    depth: Float32[np.ndarray, "height width"], *, name: str, near: float | None, far: float | None
) -> UInt8[np.ndarray, "height width 3"]:
    """Return RGB colours of a depth map.

    Args:
        depth: Positive, in any unit; NaN is black.
        name: One of `COLOUR_MAPS`.
        near: The depth at the near end; the image's own where None.
        far: The depth at the far end; likewise.

    Raises:
        InvalidArgument: There is no such map, or the range is empty.
    """
    if name not in COLOUR_MAPS:
        raise InvalidArgument(f"there is no colour map {name!r}; expected one of {', '.join(COLOUR_MAPS)}")
    disparity = depth_to_disparity(depth)
    seen = disparity[::_STEP, ::_STEP]
    holes = np.isnan(disparity) if np.isnan(disparity.min()) else None
    if holes is not None:
        seen = seen[np.isfinite(seen)]
        if not seen.size and (near is None or far is None):
            return np.zeros((*depth.shape, 3), np.uint8)
    high = float(np.quantile(seen, 1 - _EDGE)) if near is None else depth_to_disparity(near)
    low = float(np.quantile(seen, _EDGE)) if far is None else depth_to_disparity(far)
    if high < low:
        raise InvalidArgument(
            f"the colour range ends before it begins: near is {disparity_to_depth(high):.4g} "
            f"and far is {disparity_to_depth(low):.4g}"
        )
    share = (disparity - low) / max(high - low, 1e-12)
    if holes is not None:
        share[holes] = 0
    colours = COLOUR_MAPS[name][(share.clip(0, 1) * 255).astype(np.uint8)]
    if holes is not None:
        colours[holes] = 0
    return colours
