"""A depth map as a cloud of coloured points, in the PLY format.

Points are in the camera's frame: x right, y down, z forward, in the depth's unit.
"""

import math
from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from service.contract.request import FieldOfView, Intrinsics, Lens

_VERTEX = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])

_EDGE = 0.15
"""Neighbours of the network's own pixels that differ by more than this share of their depth lie on two
surfaces; what lies between them is on neither. Ground has such steps beyond some 50 m alone."""
_SKY = 0.8
"""Beyond this share of the farthest depth that a network can return there is sky, as the student draws it."""


def intrinsics_of(lens: Lens, height: int, width: int) -> Intrinsics:
    """Return the intrinsics of an image of this size; a field of view looks through its middle."""
    if isinstance(lens, FieldOfView):
        focal_px = width / 2 / math.tan(math.radians(lens.horizontal_deg) / 2)
        return Intrinsics(fx_px=focal_px, fy_px=focal_px, cx_px=width / 2, cy_px=height / 2)
    return lens


def resized_intrinsics(intrinsics: Intrinsics, scale_x: float, scale_y: float) -> Intrinsics:
    """Return the intrinsics of the image resized by these factors; centres at +0.5 make it exact."""
    return Intrinsics(
        fx_px=intrinsics.fx_px * scale_x,
        fy_px=intrinsics.fy_px * scale_y,
        cx_px=intrinsics.cx_px * scale_x,
        cy_px=intrinsics.cy_px * scale_y,
    )


def rays(
    intrinsics: Intrinsics, height: int, width: int
) -> tuple[Float32[np.ndarray, " width"], Float32[np.ndarray, " height"]]:
    """Return x/z of each column and y/z of each row."""
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5 - intrinsics.cx_px)) / intrinsics.fx_px
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5 - intrinsics.cy_px)) / intrinsics.fy_px
    return x.astype(np.float32), y.astype(np.float32)


def on_surfaces(
    depth: Float32[np.ndarray, "height width"], network_size: tuple[int, int], farthest: float
) -> Bool[np.ndarray, "height width"]:
    """Tell which pixels lie on a surface: neither in the sky nor in the blur between two surfaces.

    Args:
        depth: NaN for none.
        network_size: Height and width at which the network saw the picture; the map may be larger.
        farthest: The farthest depth that the network can return, in the map's unit.
    """
    down, across = (max(1, round(side / seen)) for side, seen in zip(depth.shape, network_size, strict=True))
    window = np.ones((2 * down + 1, 2 * across + 1), np.uint8)
    known = np.nan_to_num(depth, nan=0.0)
    is_flat = cv2.dilate(known, window) <= (1 + _EDGE) * cv2.erode(known, window)
    on: Bool[np.ndarray, "height width"] = is_flat & (known > 0) & (known < _SKY * farthest)
    return on


def encode_ply(
    depth: Float32[np.ndarray, "height width"],
    rgb: UInt8[np.ndarray, "height width 3"],
    intrinsics: Intrinsics,
    said: Mapping[str, str],
) -> bytes:
    """Return a binary little-endian PLY file with a point for each pixel that has depth, row by row.

    Args:
        depth: In the unit that `said` names; NaN for none.
        rgb: The picture.
        intrinsics: Of the map's own pixels.
        said: What the file's comments say of the depth.
    """
    height, width = depth.shape
    x, y = rays(intrinsics, height, width)
    vertices = np.empty((height, width), _VERTEX)
    vertices["x"], vertices["y"], vertices["z"] = depth * x, depth * y[:, None], depth
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = rgb[..., channel]
    vertices = vertices[np.isfinite(depth)]
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        "comment camera frame: x right, y down, z forward\n"
        f"{''.join(f'comment {name}: {text}' + chr(10) for name, text in said.items())}"
        f"element vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    body: bytes = vertices.tobytes()
    return header.encode() + body
