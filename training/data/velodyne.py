"""Project a Velodyne scan into a camera: sparse depth, of which the nearest return is kept in each pixel.

It knows KITTI's scan files and a projection matrix, not where calibrations lie.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from training.data.frames import FrameError

PixelRule = Literal["nearest", "eigen"]
"""Which pixel a projection (u, v), counted from 0 at pixel centres, falls into.

``nearest``: round(u). ``eigen``: round(u) - 1, as the ground truth of the published tables has been made
since Eigen's split came into use; a pixel off, but the only way to get exactly the same ground truth."""

DepthAxis = Literal["camera", "scanner"]
"""Along which axis depth is measured: the camera's z, or the scanner's x as in the raw-LiDAR tables."""

_POINT_BYTES = 16


def read_scan(path: Path) -> Float32[np.ndarray, "points 4"]:
    """Read x forward, y left, z up in metres, and reflectance.

    Raises:
        FrameError: The file is missing or not a whole number of points long.
    """
    if not path.is_file():
        raise FrameError(path, "is missing")
    if path.stat().st_size % _POINT_BYTES:
        raise FrameError(path, f"expected a multiple of {_POINT_BYTES} bytes: four float32 a point")
    return np.fromfile(path, np.float32).reshape(-1, 4)


def project_scan(
    scan: Float32[np.ndarray, "points 4"],
    pixel_T_velodyne: Float64[np.ndarray, "3 4"],
    height: int,
    width: int,
    *,
    pixels: PixelRule = "nearest",
    axis: DepthAxis = "camera",
) -> Float32[np.ndarray, "height width"]:
    """Return depth in metres, 0 where no return falls.

    Args:
        scan: As from `read_scan`.
        pixel_T_velodyne: The camera's projection times the move from the scanner to camera 0.
        height: Of the image in pixels.
        width: Of the image in pixels.
        pixels: Which pixel a projection falls into.
        axis: Along which axis depth is measured.
    """
    ahead = scan[scan[:, 0] >= 0]
    points = np.concatenate((ahead[:, :3], np.ones((len(ahead), 1), np.float32)), axis=1, dtype=np.float64)
    u, v, z = pixel_T_velodyne @ points.T
    seen = z > 0
    u, v, z, x = u[seen] / z[seen], v[seen] / z[seen], z[seen], ahead[seen, 0]
    shift = 1 if pixels == "eigen" else 0
    column = np.round(u).astype(np.int64) - shift
    row = np.round(v).astype(np.int64) - shift
    depth = z if axis == "camera" else x
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth > 0)
    return nearest_returns(row[inside], column[inside], depth[inside], height, width)


def nearest_returns(
    row: Int64[np.ndarray, " points"],
    column: Int64[np.ndarray, " points"],
    depth: Float64[np.ndarray, " points"] | Float32[np.ndarray, " points"],
    height: int,
    width: int,
) -> Float32[np.ndarray, "height width"]:
    """Return the nearest depth of each pixel, and 0 where no point falls; all points lie within the image."""
    nearest = np.full((height, width), np.inf, np.float32)
    np.minimum.at(nearest, (row, column), depth.astype(np.float32))
    return np.where(np.isinf(nearest), np.float32(0), nearest)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanDepth:
    """A scan from which the depth of one camera's frame can be had."""

    path: Path
    pixel_T_velodyne: Float64[np.ndarray, "3 4"]
    pixels: PixelRule = "nearest"
    axis: DepthAxis = "camera"

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return the depth in metres for an image of that size."""
        scan = read_scan(self.path)
        return project_scan(scan, self.pixel_T_velodyne, height, width, pixels=self.pixels, axis=self.axis)
