"""Find level ground under a camera in a depth map; its distance gives the metres of a unit of depth."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from model.disparity import depth_to_disparity

_TRIALS = 200
_TOLERANCE = 0.03
"""Of a pixel's disparity: how far it may be off the plane and still be ground."""
_LEAST_SHARE = 0.4
"""Of the lower middle of the image that has to be ground."""
_LEAST_UPRIGHT = 0.85
"""Cosine between the plane's normal and the camera's own up: a wall is no ground."""
_SAMPLES = 4000
_NEAR = 0.5
"""The plane is fitted where its disparity is at least this share of its largest. Farther ground would tilt
it: networks tend to draw it too near, by a tenth at three times the distance after a short training."""
_ROUNDS, _ENOUGH = 20, 0.1
"""Of the fit; and the share of the ground that has to be near, else all of it counts."""
_MAD_TO_DEVIATION = 1.4826
"""Of a normal distribution: its standard deviation over its median absolute deviation."""


class NoGroundError(ValueError):
    """There is no level ground to be found; the message says what there is."""


@dataclass(frozen=True, kw_only=True)
class GroundPlane:
    """The ground as a depth map has it."""

    height: float
    """Of the camera over the ground, in the depth's unit."""
    pitch_deg: float
    """How far the camera looks down; negative where it looks up."""
    share: float
    """Of the lower middle of the image that agrees with the plane."""
    error: float
    """How far the depth of these pixels scatters about the plane, as a share of it: a robust standard
    deviation, and so how well a height over this ground fixes the scale."""


def find_ground(
    depth: Float32[np.ndarray, "height width"],
    x: Float32[np.ndarray, " width"],
    y: Float32[np.ndarray, " height"],
) -> GroundPlane:
    """Find level ground in the lower middle of an image.

    A point X = z r on the plane n . X = h (n a unit vector, h the camera's height, r = (x/z, y/z, 1)) has
    1/z = (n / h) . r: disparity is linear in r, and the length of the fitted vector is 1/h. The plane is
    found by random sampling with a fixed seed (Fischler and Bolles, "Random Sample Consensus", CACM 1981),
    then by least squares over its nearer half, in which pixels count less the farther off the plane they are
    (Geman and McClure, 1987).

    Args:
        depth: Along the optical axis, in any unit; NaN where there is none.
        x: x/z of each column's rays.
        y: y/z of each row's.

    Raises:
        NoGroundError: No plane fills enough of it, or the plane is not level.
    """
    rays, disparity = _lower_middle(depth, x, y)
    ground = _on_best_plane(rays, disparity)
    share = float(ground.mean()) if len(ground) else 0.0
    if share < _LEAST_SHARE:
        raise NoGroundError(
            f"no flat ground fills the lower middle of the image: {share:.0%} of it agrees on one "
            f"plane, expected at least {_LEAST_SHARE:.0%}"
        )
    plane = _fitted(rays, disparity, ground)
    length = float(np.linalg.norm(plane))
    if plane[1] < _LEAST_UPRIGHT * length:
        raise NoGroundError(
            "the plane in the lower middle of the image is not level: its normal is "
            f"{math.degrees(math.acos(max(-1.0, plane[1] / length))):.0f} degrees off the camera's vertical"
        )
    scatter = np.abs(rays[ground] @ plane / disparity[ground] - 1)
    return GroundPlane(
        height=1 / length,
        pitch_deg=math.degrees(math.atan2(plane[2], plane[1])),
        share=share,
        error=_MAD_TO_DEVIATION * float(np.median(scatter)),
    )


def _lower_middle(
    depth: Float32[np.ndarray, "height width"],
    x: Float32[np.ndarray, " width"],
    y: Float32[np.ndarray, " height"],
) -> tuple[Float64[np.ndarray, "pixels 3"], Float64[np.ndarray, " pixels"]]:
    """Return rays and disparities where a street has its ground, thinned out."""
    height, width = depth.shape
    rows, columns = slice(int(0.65 * height), height), slice(int(0.25 * width), int(0.75 * width) + 1)
    down, across = np.meshgrid(y[rows], x[columns], indexing="ij")
    rays = np.stack([across, down, np.ones_like(down)], axis=-1).reshape(-1, 3).astype(np.float64)
    disparity = depth_to_disparity(depth[rows, columns].ravel().astype(np.float64))
    step = max(1, len(disparity) // _SAMPLES)
    rays, disparity = rays[::step], disparity[::step]
    known = np.isfinite(disparity)
    return rays[known], disparity[known]


def _on_best_plane(
    rays: Float64[np.ndarray, "pixels 3"], disparity: Float64[np.ndarray, " pixels"]
) -> Bool[np.ndarray, " pixels"]:
    """Return which pixels lie on the plane that most agree with."""
    nothing = np.zeros(len(disparity), np.bool_)
    if len(disparity) < 3:
        return nothing
    triples = np.random.default_rng(0).integers(0, len(disparity), (_TRIALS, 3))
    triples = triples[np.abs(np.linalg.det(rays[triples])) > 1e-9]
    if not len(triples):
        return nothing
    planes = np.linalg.solve(rays[triples], disparity[triples][..., None])[..., 0]
    agrees = np.abs(planes @ rays.T - disparity) < _TOLERANCE * disparity
    best: Bool[np.ndarray, " pixels"] = agrees[int(agrees.sum(axis=1).argmax())]
    return best


def _fitted(
    rays: Float64[np.ndarray, "pixels 3"],
    disparity: Float64[np.ndarray, " pixels"],
    ground: Bool[np.ndarray, " pixels"],
) -> Float64[np.ndarray, " 3"]:
    """Return the plane that near pixels lie on, from those that lie on one plane at all distances."""
    plane: Float64[np.ndarray, " 3"] = np.linalg.lstsq(rays[ground], disparity[ground], rcond=None)[0]
    expected = rays @ plane
    near = expected >= _NEAR * np.quantile(expected, 0.95)
    if (near & ground).sum() < _ENOUGH * ground.sum():
        return plane
    rays, disparity = rays[near], disparity[near]
    for _ in range(_ROUNDS):
        weight = 1 / (1 + ((disparity / (rays @ plane) - 1) / _TOLERANCE) ** 2)
        plane = np.linalg.lstsq(weight[:, None] * rays, weight * disparity, rcond=None)[0]
    return plane
