"""One drawn frame, and what kinds of things can be seen in it."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float32, UInt8


class Kind(IntEnum):
    """What a pixel shows."""

    SKY = 0
    ROAD = 1
    PAVEMENT = 2
    TERRAIN = 3
    BUILDING = 4
    WALL = 5
    FENCE = 6
    POLE = 7
    SIGN = 8
    VEGETATION = 9
    CAR = 10
    LORRY = 11
    PERSON = 12


@dataclass(frozen=True, kw_only=True)
class SyntheticFrame:
    """What one camera sees at one moment, and everything that is known about it."""

    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    depth_m: Float32[np.ndarray, "height width"]
    """Along the optical axis at the centre of each pixel; 0 in the sky."""
    sky: Bool[np.ndarray, "height width"]
    """True where nothing is hit: depth is 0 there, but the distance is infinite."""
    moving: Bool[np.ndarray, "height width"]
    """True on cars and people that move in the world."""
    kinds: UInt8[np.ndarray, "height width"]
    """`Kind` of what is at the centre of each pixel."""
    intrinsics: Float32[np.ndarray, "3 3"]
    """Pixel centres at +0.5."""
    world_T_camera: Float32[np.ndarray, "4 4"]
    """World axes: x forward at the start, y left, z up; camera axes: x right, y down, z forward."""
