"""What a street looks like to someone who does not look: an endless plane under a far sky, for every image.

A network that does not beat these planes has learned where the road usually is, and nothing else. They are
judged like networks, and stated beside them. They know an image's size, not its content.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, exp, log, sin

import numpy as np
from jaxtyping import Float32, Float64
from scipy.optimize import minimize

from model.disparity import depth_to_disparity, disparity_to_depth
from training.judge.protocols.protocol import JudgedFrame, JudgedFrames, JudgingError, JudgingProtocol

_PIXELS_PER_FRAME = 500
"""Enough for a fit of three numbers to many frames; a scan has some 18,000 in an image."""

_STARTS = [np.array([horizon, 0.0, log(30.0)]) for horizon in (0.35, 0.45, 0.55)]
_SPREAD = np.array([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, 1.0]])
"""Of horizon, tilt and the logarithm of the sky's distance, in units of the slope."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Disparity in 1/metre, linear over the image and never below that of the sky."""

    horizon: float
    """Where the middle column's disparity is 0, as a share of the height from the top."""
    slope: float
    """Growth of disparity from the image's top to its bottom."""
    tilt: float = 0.0
    """Growth of disparity from the left edge to the right."""
    farthest_m: float = 80.0
    """Of the sky."""

    def disparity(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return the map for an image of a size."""
        down = (np.arange(height)[:, None] + 0.5) / height
        along = (np.arange(width)[None, :] + 0.5) / width
        return self.at(down, along).astype(np.float32)

    def at(self, down: Float64[np.ndarray, "..."], along: Float64[np.ndarray, "..."]) -> np.ndarray:
        """Return disparity at shares of the height and the width."""
        plane = self.slope * (down - self.horizon) + self.tilt * (along - 0.5)
        bounded: np.ndarray = np.maximum(plane, depth_to_disparity(self.farthest_m))
        return bounded

    def predict(self, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Predict photographs, as a network would."""
        return [self.disparity(image.shape[0], image.shape[1]) for image in images]


def ground_plane(
    intrinsics: Float32[np.ndarray, "3 3"],
    height: int,
    *,
    camera_height_m: float = 1.65,
    pitch_rad: float = 0.0,
    farthest_m: float = 80.0,
) -> Plane:
    """Return the road under a camera, from its mounting alone: nothing is fitted.

    A ray through row v meets the road where ``z (cos p (v - cy) / fy + sin p) = camera height``.

    Args:
        intrinsics: In pixels of the photograph that the network would be shown.
        height: Of that photograph in pixels.
        camera_height_m: Above the road; 1.65 m on KITTI's car.
        pitch_rad: Positive where the camera looks down.
        farthest_m: Of the sky.
    """
    focal, centre = float(intrinsics[1, 1]) / height, float(intrinsics[1, 2]) / height
    slope = cos(pitch_rad) / (focal * camera_height_m)
    return Plane(horizon=centre - focal * sin(pitch_rad) / cos(pitch_rad), slope=slope, farthest_m=farthest_m)


def best_plane(frames: JudgedFrames, protocol: JudgingProtocol) -> Plane:
    """Return the plane with the lowest median-scaled AbsRel on these frames.

    Fitted to training frames it is a fair rival. Fitted to the frames that are judged it has seen the
    answers, and is the hardest of its kind to beat. Its scale is the median over frames of the one that each
    asks for.

    Raises:
        JudgingError: A frame has no ground truth that counts.
    """
    down, along, truth_m = np.stack(
        [_sample(frames[index], protocol) for index in range(len(frames))], axis=1
    )

    def scaled(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
        depth_m = disparity_to_depth(plane.at(down, along))
        ratios = np.median(truth_m, axis=1) / np.median(depth_m, axis=1)
        return depth_m * ratios[:, None], ratios

    def loss(values: Float64[np.ndarray, " 3"]) -> float:
        depth_m, _ = scaled(_plane(values))
        return float(np.mean(np.abs(depth_m - truth_m) / truth_m))

    found = [
        minimize(loss, start, method="Nelder-Mead", options={"initial_simplex": start + _SPREAD})
        for start in _STARTS
    ]
    best = _plane(min(found, key=lambda result: float(result.fun)).x)
    scale = float(np.median(scaled(best)[1]))
    return replace(best, slope=best.slope / scale, tilt=best.tilt / scale, farthest_m=best.farthest_m * scale)


def _plane(values: Float64[np.ndarray, " 3"]) -> Plane:
    """Return a plane of unit slope: medians find the scale."""
    horizon, tilt, log_farthest = (float(value) for value in values)
    return Plane(horizon=horizon, slope=1.0, tilt=tilt, farthest_m=exp(min(max(log_farthest, 0.0), 9.0)))


def _sample(frame: JudgedFrame, protocol: JudgingProtocol) -> Float64[np.ndarray, "3 pixels"]:
    """Return shares of height and width, and depth, of as many counted pixels of every frame."""
    if frame.depth_m is None:
        raise JudgingError(f"{frame.key}: has no ground truth")
    truth_m = protocol.view(frame.depth_m)
    rows, columns = np.nonzero(protocol.counted(truth_m))
    if len(rows) == 0:
        raise JudgingError(f"{frame.key}: no pixel of its ground truth counts")
    chosen = np.linspace(0, len(rows) - 1, _PIXELS_PER_FRAME).round().astype(np.intp)
    rows, columns = rows[chosen], columns[chosen]
    height, width = truth_m.shape
    return np.stack([(rows + 0.5) / height, (columns + 0.5) / width, truth_m[rows, columns]])
