"""One frame's prediction beside its ground truth: which pixels count, and how well they agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float32

from training.judge.alignment import Alignment, Fit, fit, median_ratio
from training.judge.metrics import Metrics, measure
from training.judge.protocols.protocol import JudgedFrame, JudgingError, JudgingProtocol

PredictDisparity: TypeAlias = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""What is judged: RGB uint8 images of any sizes to disparity maps of any sizes, one each, in 1/unit."""


@dataclass(frozen=True, kw_only=True)
class FrameScore:
    """What one frame came to."""

    key: str
    pixels: int
    """How many were compared."""
    measured: int
    """How many have ground truth, compared or not."""
    ratio: float
    """True over predicted median depth, before any alignment."""
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A frame's prediction and ground truth, of one size."""

    key: str
    protocol: JudgingProtocol
    disparity: Float32[np.ndarray, "height width"]
    """As predicted, resized to the ground truth."""
    truth_m: Float32[np.ndarray, "height width"]
    """0 where nothing was measured."""
    counted: Bool[np.ndarray, "height width"]
    """Which pixels are compared; at least one."""

    def fit(self, alignment: Alignment, metres_per_unit: float | None) -> Fit:
        """Fit the counted pixels."""
        return fit(self.disparity[self.counted], self.truth_m[self.counted], alignment, metres_per_unit)

    def depth_m(
        self, alignment: Alignment, metres_per_unit: float | None
    ) -> Float32[np.ndarray, "height width"]:
        """Return the whole aligned and clamped depth map."""
        return self.fit(alignment, metres_per_unit).depth_m(self.disparity, self.protocol.clamp_m)

    def score(self, alignment: Alignment, metres_per_unit: float | None) -> FrameScore:
        """Measure the counted pixels."""
        truth_m, disparity = self.truth_m[self.counted], self.disparity[self.counted]
        depth_m = fit(disparity, truth_m, alignment, metres_per_unit).depth_m(
            disparity, self.protocol.clamp_m
        )
        return FrameScore(
            key=self.key,
            pixels=len(truth_m),
            measured=int(np.count_nonzero(self.truth_m > 0)),
            ratio=median_ratio(disparity, truth_m) / (metres_per_unit or 1.0),
            metrics=measure(truth_m, depth_m, log_base=self.protocol.log_base),
        )


def compare(frame: JudgedFrame, disparity: np.ndarray, protocol: JudgingProtocol) -> Comparison:
    """Put a prediction beside its frame's ground truth.

    Raises:
        JudgingError: There is no ground truth, none of it counts, or the prediction is no disparity.
    """
    truth_m, counted = countable(frame, protocol)
    return Comparison(
        key=frame.key,
        protocol=protocol,
        disparity=protocol.resized(_checked(frame.key, disparity), *truth_m.shape),
        truth_m=truth_m,
        counted=counted,
    )


def countable(
    frame: JudgedFrame, protocol: JudgingProtocol
) -> tuple[Float32[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Return the ground truth that a prediction will be compared with, and which of its pixels count.

    Raises:
        JudgingError: There is no ground truth, or none of it counts.
    """
    if frame.depth_m is None:
        raise JudgingError(f"{frame.key}: has no ground truth")
    try:
        truth_m = protocol.view(frame.depth_m)
    except JudgingError as error:
        raise JudgingError(f"{frame.key}: {error}") from None
    counted = protocol.counted(truth_m)
    if not counted.any():
        low, high = protocol.mask_m
        raise JudgingError(
            f"{frame.key}: no pixel of its ground truth counts: of {truth_m.size} there are "
            f"{np.count_nonzero(truth_m > 0)} measured, "
            f"and none of those both within the window and between {low} and {high} m{_unit(truth_m)}"
        )
    return truth_m, counted


def _unit(truth_m: Float32[np.ndarray, "height width"]) -> str:
    """Say what was measured instead, and which settings decide over it; nothing where nothing was."""
    measured = truth_m[truth_m > 0]
    if not measured.size:
        return ""
    median = np.median(measured)
    return f", but a median of {median:.4g} m; --depth-scale, --min-depth and --max-depth set what counts"


def predict_frames(
    predict: PredictDisparity, frames: Sequence[JudgedFrame], protocol: JudgingProtocol, *, flip: bool
) -> list[np.ndarray]:
    """Predict the disparity of prepared photographs.

    Args:
        predict: What is judged.
        frames: The photographs.
        protocol: How to prepare them.
        flip: Whether to average with the mirrored prediction for the mirrored photograph.

    Raises:
        JudgingError: A photograph cannot be prepared, or there are not as many maps as photographs.
    """
    images = [_prepared(frame, protocol) for frame in frames]
    disparities = list(predict(images))
    _check_count(frames, disparities)
    if not flip:
        return disparities
    mirrored = list(predict([np.ascontiguousarray(image[:, ::-1]) for image in images]))
    _check_count(frames, mirrored)
    return [0.5 * (one + other[:, ::-1]) for one, other in zip(disparities, mirrored, strict=True)]


def _prepared(frame: JudgedFrame, protocol: JudgingProtocol) -> np.ndarray:
    try:
        return protocol.prepare(frame.image)
    except JudgingError as error:
        raise JudgingError(f"{frame.key}: {error}") from None


def _check_count(frames: Sequence[JudgedFrame], disparities: Sequence[np.ndarray]) -> None:
    if len(disparities) != len(frames):
        raise JudgingError(
            f"{len(disparities)} disparity maps were predicted for {len(frames)} images, "
            f"from {frames[0].key} on"
        )


def _checked(key: str, disparity: np.ndarray) -> Float32[np.ndarray, "rows columns"]:
    if disparity.ndim != 2 or not np.issubdtype(disparity.dtype, np.floating):
        raise JudgingError(
            f"{key}: predicted {disparity.dtype} of shape {disparity.shape}; "
            "expected floats of shape (rows, columns)"
        )
    lowest, highest = float(disparity.min()), float(disparity.max())
    if not (lowest > 0.0 and highest < np.inf):
        raise JudgingError(
            f"{key}: predicted disparity lies between {lowest} and {highest}; expected positive and finite"
        )
    return disparity.astype(np.float32, copy=False)
