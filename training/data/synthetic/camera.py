"""A pinhole camera and the grid of samples that an image is drawn from: two a pixel in each direction.

Samples lie at multiples of half a pixel: every pixel's centre is one of them, and depth read there is
exact.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

Matrix3 = Float64[np.ndarray, "3 3"]
Matrix4 = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where a camera is and how it projects."""

    intrinsics: Matrix3
    """In pixels, centres at +0.5."""
    world_T_camera: Matrix4
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of samples: at 0, 0.5, ... height; a pixel's centre has an odd row."""
        return 2 * self.height + 1

    @property
    def columns(self) -> int:
        """Columns of samples; a pixel's centre has an odd column."""
        return 2 * self.width + 1

    @property
    def position(self) -> Float64[np.ndarray, "3"]:
        """The camera's place in the world."""
        return self.world_T_camera[:3, 3]

    def scaled(self, height: int, width: int) -> "Camera":
        """Return the camera with fewer or more pixels."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return replace(self, intrinsics=scale @ self.intrinsics, height=height, width=width)

    def rays(self) -> Matrix3:
        """Return the matrix from (sample column, sample row, 1) to a world direction of camera depth 1."""
        to_pixels = np.diag([0.5, 0.5, 1.0])
        return self.world_T_camera[:3, :3] @ np.linalg.inv(self.intrinsics) @ to_pixels


def look(yaw: float, pitch: float, roll: float) -> Matrix3:
    """Return the rotation world_R_camera of a camera that looks along x at rest.

    Args:
        yaw: To the left, in radians.
        pitch: Upwards, in radians.
        roll: Clockwise as the driver sees it, in radians.
    """
    at_rest = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    rotation: Matrix3 = turn(2, yaw) @ turn(1, -pitch) @ turn(0, roll) @ at_rest
    return rotation


def turn(axis: int, angle: float) -> Matrix3:
    """Return the right-handed rotation about a world axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[first, first] = rotation[second, second] = cosine
    rotation[first, second], rotation[second, first] = -sine, sine
    return rotation


def rigid(rotation: Matrix3, position: Float64[np.ndarray, "3"]) -> Matrix4:
    """Return the transform that turns and then shifts."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = position
    return transform
