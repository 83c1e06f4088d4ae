"""Depth of a frame as data sets store it: PNGs of other steps than KITTI's, and point clouds of a scanner."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from training.data.frames import FrameError
from training.data.velodyne import nearest_returns


@dataclass(frozen=True, kw_only=True)
class SteppedPng:
    """A uint16 PNG of depth along the optical axis, in steps of its own; 0 is nothing."""

    path: Path
    steps_per_m: float
    beyond: int = 65536
    """Steps from here on are nothing, too: sky, or too far to be stored."""

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return metres, 0 where nothing was measured, for an image of that size.

        Raises:
            FrameError: It is no such PNG, or not of the image's size.
        """
        steps = cv2.imread(str(self.path), cv2.IMREAD_UNCHANGED)
        if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
            raise FrameError(self.path, f"expected a uint16 PNG of {self.steps_per_m:g} steps a metre")
        if steps.shape != (height, width):
            raise FrameError(self.path, f"is {steps.shape}, but its image is {(height, width)}")
        depth_m: Float32[np.ndarray, "height width"]
        depth_m = np.where(steps < self.beyond, steps, 0).astype(np.float32) / np.float32(self.steps_per_m)
        return depth_m


@dataclass(frozen=True, kw_only=True, eq=False)
class PointDepth:
    """A point cloud, projected into one camera's frame; of several points in a pixel the nearest counts."""

    path: Path
    load: Callable[[Path], Float32[np.ndarray, "points 3"]]
    """Reads metres in the scanner's frame."""
    camera_T_scanner: Float64[np.ndarray, "4 4"]
    intrinsics: Float32[np.ndarray, "3 3"]
    """With pixel centres at +0.5."""
    nearest_m: float = 0.0
    """Points nearer than this are left out: the car's own roof, say."""

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return metres along the optical axis, 0 where no point falls, for an image of that size.

        Raises:
            FrameError: The file cannot be read.
        """
        if not self.path.is_file():
            raise FrameError(self.path, "is missing")
        points = self.load(self.path).astype(np.float64)
        x, y, z = self.camera_T_scanner[:3, :3] @ points.T + self.camera_T_scanner[:3, 3:]
        seen = z > max(self.nearest_m, 1e-6)
        x, y, z = x[seen], y[seen], z[seen]
        # Centres lie at +0.5, so the pixel of a point is the floor of where it falls.
        column = np.floor(self.intrinsics[0, 0] * x / z + self.intrinsics[0, 2]).astype(np.int64)
        row = np.floor(self.intrinsics[1, 1] * y / z + self.intrinsics[1, 2]).astype(np.int64)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return nearest_returns(row[inside], column[inside], z[inside], height, width)
