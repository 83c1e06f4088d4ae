"""What a caller asks for, whichever door he came through.

It does not know how requests travel, or how they are answered.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from service.errors import InvalidArgument


class Format(StrEnum):
    """How a depth map is written into bytes."""

    PNG16 = "png16"
    """16-bit grey PNG; 1/256 of the unit a step, 0 = no depth (KITTI's when in metres)."""
    NPY = "npy"
    """NumPy's file of float32."""
    FLOAT32 = "float32"
    """Raw little-endian float32, row by row."""
    FLOAT16 = "float16"
    """Raw little-endian float16, row by row."""
    UINT16_MM = "uint16_mm"
    """Raw little-endian uint16 millimetres, 0 = no depth (ROS 16UC1); metric depth only."""
    PNG16_MM = "png16_mm"
    """The same millimetres as 16-bit grey PNG (ROS compressedDepth, and most depth cameras' recordings)."""
    JXL = "jxl"
    """Lossless JPEG XL of the same values as PNG16."""
    JSON = "json"
    """A JSON object with a list of rows; small maps only."""
    COLOR = "color"
    """8-bit RGB PNG for people to look at."""
    PLY = "ply"
    """A coloured point cloud, binary little-endian; needs a lens."""


Size = Literal["input", "model"]


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """A pinhole camera, in pixels of the upright input image, whose first pixel's centre is at 0.5."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
            value = getattr(self, name)
            if not math.isfinite(value) or (name.startswith("f") and value <= 0):
                expected = "a positive focal length" if name.startswith("f") else "a finite position"
                raise InvalidArgument(f"{name} is {value}; expected {expected} in pixels")


@dataclass(frozen=True, kw_only=True)
class FieldOfView:
    """A pinhole camera with square pixels that looks through the middle of the upright image."""

    horizontal_deg: float

    def __post_init__(self) -> None:
        if not 0 < self.horizontal_deg < 180:
            raise InvalidArgument(
                f"the horizontal field of view is {self.horizontal_deg}; expected degrees between 0 and 180"
            )


Lens = Intrinsics | FieldOfView


@dataclass(frozen=True, kw_only=True)
class CameraHeight:
    """How high the camera stands above flat ground that it sees; needs a lens."""

    height_m: float

    def __post_init__(self) -> None:
        _check_distance("the camera height", self.height_m)


@dataclass(frozen=True, kw_only=True)
class KnownDistance:
    """A pixel of the upright input image whose depth, along the optical axis, is known."""

    x_px: float
    y_px: float
    distance_m: float

    def __post_init__(self) -> None:
        _check_distance("the known distance", self.distance_m)
        for name in ("x_px", "y_px"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected a pixel of the image")


Anchor = CameraHeight | KnownDistance
"""Something known about the scene, from which relative depth becomes metres."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """How a preview is coloured: by disparity, near at the map's bright end."""

    map: str | None = None
    """Name of a colour map; the server's own where None."""
    near: float | None = None
    """Depth at the near end, in the answer's unit; the image's own nearest where None."""
    far: float | None = None
    """Likewise at the far end."""

    def __post_init__(self) -> None:
        for name in ("near", "far"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidArgument(f"{name} is {value}; expected a positive depth")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise InvalidArgument(f"near is {self.near} and far is {self.far}; expected near below far")


@dataclass(frozen=True, kw_only=True)
class DepthRequest:
    """One image, and how its depth is wanted."""

    image: bytes | np.ndarray
    """JPEG, PNG or WebP as a file has it; or RGB pixels, uint8 of (height, width, 3)."""
    format: Format = Format.PNG16
    size: Size = "input"
    """As many pixels as the upright image has, or as the network answers."""
    model: str | None = None
    """The default model where None."""
    version: str | None = None
    """The current version where None."""
    priority: int = 0
    """Higher goes first among those that wait."""
    deadline_s: float | None = None
    """The instant of ``time.monotonic`` by which the answer is wanted; the server's own bound where None."""
    lens: Lens | None = None
    """For point clouds and camera heights."""
    anchor: Anchor | None = None
    """Makes the answer metric."""
    colour: Colour = Colour()
    request_id: str = ""
    door: str = "engine"
    """Which door it came through, for metrics: one of a few fixed words."""

    def __post_init__(self) -> None:
        if self.size not in ("input", "model"):
            raise InvalidArgument(f"size is {self.size[:40]!r}; expected 'input' or 'model'")
        if self.format is Format.PLY and self.lens is None:
            raise InvalidArgument("a point cloud needs a lens: intrinsics or a field of view")
        if isinstance(self.anchor, CameraHeight) and self.lens is None:
            raise InvalidArgument("a camera height needs a lens: intrinsics or a field of view")


def _check_distance(what: str, value: float) -> None:
    if not 0 < value < 1e6:
        raise InvalidArgument(f"{what} is {value}; expected metres between 0 and a million")
