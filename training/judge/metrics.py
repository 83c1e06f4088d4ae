"""The seven numbers by which depth is judged, over one image's measured pixels, and their mean over images.

Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network",
NeurIPS 2014, section 4.2.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Float

LogBase = Literal["natural", "10"]
"""Of the logarithmic error: natural everywhere but in Make3D's tables."""

DELTA = 1.25
"""A pixel is right where truth and prediction differ by less than this factor, or a power of it."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The seven numbers, over one image or averaged over several."""

    abs_rel: float
    """Mean of |truth - depth| / truth."""
    sq_rel: float
    """Mean of (truth - depth)^2 / truth, in metres."""
    rmse: float
    """Root of the mean of (truth - depth)^2, in metres."""
    rmse_log: float
    """Root of the mean of (log truth - log depth)^2."""
    delta1: float
    """Share of pixels where max(truth / depth, depth / truth) is below 1.25."""
    delta2: float
    """Below 1.25^2."""
    delta3: float
    """Below 1.25^3."""


NAMES = tuple(field.name for field in fields(Metrics))
"""In the order of the published tables."""


def measure(
    truth_m: Float[np.ndarray, " pixels"],
    depth_m: Float[np.ndarray, " pixels"],
    *,
    log_base: LogBase = "natural",
) -> Metrics:
    """Compare the measured pixels of one image.

    Raises:
        ValueError: There are no pixels, or one of them is not positive and finite.
    """
    truth, depth = truth_m.astype(np.float64), depth_m.astype(np.float64)
    for name, values in (("truth", truth), ("depth", depth)):
        if values.size == 0:
            raise ValueError("there are no pixels to compare; expected at least one")
        lowest, highest = float(values.min()), float(values.max())
        if not (lowest > 0.0 and highest < np.inf):
            raise ValueError(f"{name} lies between {lowest} and {highest}; expected positive and finite")
    error = truth - depth
    squared = error * error
    log = np.log(truth / depth) if log_base == "natural" else np.log10(truth / depth)
    factor = np.maximum(truth / depth, depth / truth)
    return Metrics(
        abs_rel=float(np.mean(np.abs(error) / truth)),
        sq_rel=float(np.mean(squared / truth)),
        rmse=float(np.sqrt(np.mean(squared))),
        rmse_log=float(np.sqrt(np.mean(log * log))),
        delta1=float(np.mean(factor < DELTA)),
        delta2=float(np.mean(factor < DELTA**2)),
        delta3=float(np.mean(factor < DELTA**3)),
    )


def mean(per_image: Sequence[Metrics]) -> Metrics:
    """Average over images, each counting the same however many pixels of it were measured.

    Raises:
        ValueError: There are no images.
    """
    if not per_image:
        raise ValueError("there are no images to average over; expected at least one")
    averages = np.mean([astuple(metrics) for metrics in per_image], axis=0)
    return Metrics(**dict(zip(NAMES, map(float, averages), strict=True)))
