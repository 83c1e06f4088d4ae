"""A depth map as a cloud of coloured points, in the PLY format.

Points are in the camera's frame: x right, y down, z forward, in the depth's unit. It does not know how the
lens was found.
"""

import math

import numpy as np
from jaxtyping import Float32, UInt8

from service.request import FieldOfView, Intrinsics, Lens

_VERTEX = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])


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


def encode_ply(
    depth: Float32[np.ndarray, "height width"],
    rgb: UInt8[np.ndarray, "height width 3"],
    intrinsics: Intrinsics,
    unit: str,
) -> bytes:
    """Return a binary little-endian PLY file with a point for each pixel, row by row."""
    height, width = depth.shape
    x, y = rays(intrinsics, height, width)
    vertices = np.empty((height, width), _VERTEX)
    vertices["x"], vertices["y"], vertices["z"] = depth * x, depth * y[:, None], depth
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = rgb[..., channel]
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment camera frame: x right, y down, z forward; unit: {unit}\n"
        f"element vertex {height * width}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    return header.encode() + vertices.tobytes()
