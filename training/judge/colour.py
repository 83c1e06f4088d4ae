"""Depth and error as colours whose lightness rises evenly: equal steps look equal, and grey prints work.

A spiral through the OKLab colour space of Björn Ottosson (2020): far is dark blue, near is light yellow.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float64, UInt8

MISSING = (96, 96, 96)
"""Grey, which lies nowhere on the spiral, for pixels without a value."""

_LEVELS = 256
_LIGHTNESS = (0.22, 0.96)
_HUE_DEG = (285.0, 465.0)
"""From blue over red to yellow."""
_CHROMA = 0.17
"""At the middle; less towards both ends, where sRGB has less to give."""

_LMS_FROM_LAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colour_depth(
    depth_m: Float[np.ndarray, "height width"], nearest_m: float, farthest_m: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour depth by its logarithm between two bounds; what is not positive and finite is grey.

    Raises:
        ValueError: The bounds are not positive and in order.
    """
    if not 0.0 < nearest_m < farthest_m:
        raise ValueError(f"bounds are {nearest_m} and {farthest_m}; expected 0 < nearest < farthest")
    there = (depth_m > 0.0) & np.isfinite(depth_m)
    log = np.log(np.where(there, depth_m, 1.0) / farthest_m) / np.log(nearest_m / farthest_m)
    return colour_values(np.where(there, log, np.nan))


def colour_values(
    values: Float[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour values from 0 (dark) to 1 (light); those beyond get the end's colour, and NaN is grey."""
    there = np.isfinite(values)
    index = np.rint(np.clip(np.where(there, values, 0.0), 0.0, 1.0) * (_LEVELS - 1)).astype(np.intp)
    colours: UInt8[np.ndarray, "height width 3"] = table()[index]
    colours[~there] = MISSING
    return colours


@cache
def table() -> UInt8[np.ndarray, "levels 3"]:
    """Return the spiral's colours in sRGB, dark to light."""
    linear = _spiral()
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: UInt8[np.ndarray, "levels 3"] = np.rint(encoded * 255).astype(np.uint8)
    colours.setflags(write=False)
    return colours


def _spiral() -> Float64[np.ndarray, "levels 3"]:
    """Return linear RGB along the spiral."""
    along = np.linspace(0.0, 1.0, _LEVELS)
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * along
    hue = np.deg2rad(_HUE_DEG[0] + (_HUE_DEG[1] - _HUE_DEG[0]) * along)
    chroma = _CHROMA * (0.55 + 0.45 * np.sin(np.pi * along))
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    rgb: Float64[np.ndarray, "levels 3"] = (lab @ _LMS_FROM_LAB.T) ** 3 @ _RGB_FROM_LMS.T
    return rgb
