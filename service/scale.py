"""Metres for relative depth, from one thing that the caller knows about the scene.

Depth comes up to an unknown factor; a camera's height over flat ground, or the distance of one pixel, fixes
it. Nothing is guessed: where the ground cannot be found, the answer is an error. It does not know requests or
networks.
"""

import numpy as np
from jaxtyping import Float32, Float64

from service.codec.point_cloud import rays
from service.errors import InvalidArgument
from service.request import Intrinsics

_TRIALS = 200
_TOLERANCE = 0.03
"""Of a pixel's disparity: how far it may be off the plane and still be ground."""
_LEAST_SHARE = 0.4
"""Of the lower middle of the image that has to be ground."""
_LEAST_UPRIGHT = 0.85
"""Cosine between the plane's normal and the camera's own up: a wall is no ground."""
_WINDOW = 2
"""Pixels on each side of a known one, whose median counts."""
_SAMPLES = 4000


def factor_from_distance(
    depth: Float32[np.ndarray, "height width"], *, x_px: float, y_px: float, distance_m: float
) -> float:
    """Return metres per unit, from the depth at one pixel.

    Args:
        depth: In an unknown unit.
        x_px: Where the distance is known, in pixels of `depth`.
        y_px: Likewise.
        distance_m: Along the optical axis.

    Raises:
        InvalidArgument: The pixel is outside the image.
    """
    height, width = depth.shape
    if not (0 <= x_px < width and 0 <= y_px < height):
        raise InvalidArgument(
            f"the known pixel ({x_px:g}, {y_px:g}) is outside; expected x < {width} and y < {height}"
        )
    column, row = int(x_px), int(y_px)
    window = depth[max(row - _WINDOW, 0) : row + _WINDOW + 1, max(column - _WINDOW, 0) : column + _WINDOW + 1]
    return distance_m / float(np.median(window))


def factor_from_height(
    depth: Float32[np.ndarray, "height width"], intrinsics: Intrinsics, *, height_m: float
) -> float:
    """Return metres per unit, from the camera's height over the ground in the lower middle of the image.

    A point X = z r on the plane n . X = h (n a unit vector, h the camera's height, r = (x/z, y/z, 1)) has
    1/z = (n / h) . r: disparity is linear in r, and the length of the fitted vector is 1/h. The plane is
    found by random sampling with a fixed seed (Fischler and Bolles, "Random Sample Consensus", CACM 1981),
    then by least squares over what agrees with it.

    Args:
        depth: In an unknown unit.
        intrinsics: Of the depth map's own pixels.
        height_m: Of the camera over the ground.

    Raises:
        InvalidArgument: There is no level ground to be found.
    """
    directions, disparity = _lower_middle(depth, intrinsics)
    plane, ground = _best_plane(directions, disparity)
    if ground.mean() < _LEAST_SHARE:
        raise InvalidArgument(
            f"no flat ground fills the lower middle of the image: {ground.mean():.0%} of it agrees on one "
            f"plane, expected at least {_LEAST_SHARE:.0%}; a known distance works without ground"
        )
    plane = np.linalg.lstsq(directions[ground], disparity[ground], rcond=None)[0]
    length = float(np.linalg.norm(plane))
    if plane[1] < _LEAST_UPRIGHT * length:
        raise InvalidArgument(
            "the plane in the lower middle of the image is not level: "
            f"its normal is {np.degrees(np.arccos(np.clip(plane[1] / length, -1, 1))):.0f} degrees off the "
            "camera's vertical; a known distance works without ground"
        )
    return height_m * length


def _lower_middle(
    depth: Float32[np.ndarray, "height width"], intrinsics: Intrinsics
) -> tuple[Float64[np.ndarray, "pixels 3"], Float64[np.ndarray, " pixels"]]:
    """Return directions and disparities where a street has its ground, thinned out."""
    height, width = depth.shape
    rows, columns = slice(int(0.65 * height), height), slice(int(0.25 * width), int(0.75 * width) + 1)
    x, y = rays(intrinsics, height, width)
    grid_y, grid_x = np.meshgrid(y[rows], x[columns], indexing="ij")
    directions = np.stack([grid_x, grid_y, np.ones_like(grid_x)], axis=-1).reshape(-1, 3).astype(np.float64)
    disparity = 1.0 / depth[rows, columns].reshape(-1).astype(np.float64)
    step = max(1, len(disparity) // _SAMPLES)
    return directions[::step], disparity[::step]


def _best_plane(
    directions: Float64[np.ndarray, "pixels 3"], disparity: Float64[np.ndarray, " pixels"]
) -> tuple[Float64[np.ndarray, " 3"], np.ndarray]:
    """Return the plane that most pixels agree with, and which do."""
    random = np.random.default_rng(0)
    triples = random.integers(0, len(disparity), (_TRIALS, 3))
    solvable = np.abs(np.linalg.det(directions[triples])) > 1e-9
    if not solvable.any():
        return np.zeros(3), np.zeros(len(disparity), bool)
    planes = np.linalg.solve(directions[triples[solvable]], disparity[triples[solvable]][..., None])[..., 0]
    errors = np.abs(planes @ directions.T - disparity)
    agrees = errors < _TOLERANCE * disparity
    best = int(agrees.sum(axis=1).argmax())
    return planes[best], agrees[best]
