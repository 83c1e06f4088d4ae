"""How a prediction is brought to the ground truth's scale: by medians, by least squares, or not at all.

The same weights differ by about 0.01 AbsRel between alignments, so every number names its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float

from model.disparity import depth_to_disparity, disparity_to_depth

Alignment = Literal["median", "least_squares", "none"]

SENTENCES: Mapping[Alignment, str] = MappingProxyType(
    {
        "median": "median scaling per image",
        "least_squares": "least squares on disparity per image, scale and shift",
        "none": "no alignment: metric depth as predicted",
    }
)
"""What to write beside a number."""

_FLAT = 1e-9
"""Relative spread below which disparity is one constant, told apart by rounding only: no scale can be had."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """An affine map of disparity, in 1/metre after it."""

    scale: float
    shift: float = 0.0

    def depth_m(
        self, disparity: Float[np.ndarray, "*shape"], clamp_m: tuple[float, float]
    ) -> Float[np.ndarray, "*shape"]:
        """Return depth within bounds; what least squares push past infinity lies at the farther one."""
        nearest_m, farthest_m = clamp_m
        fitted = disparity * self.scale + self.shift
        depth_m: Float[np.ndarray, "*shape"] = np.clip(
            disparity_to_depth(np.maximum(fitted, depth_to_disparity(farthest_m))), nearest_m, farthest_m
        ).astype(disparity.dtype)
        return depth_m


def fit(
    disparity: Float[np.ndarray, " pixels"],
    truth_m: Float[np.ndarray, " pixels"],
    alignment: Alignment,
    metres_per_unit: float | None,
) -> Fit:
    """Fit one image's disparity to its measured pixels.

    Args:
        disparity: In 1/unit of the network, positive.
        truth_m: The same pixels' ground truth.
        alignment: By which rule.
        metres_per_unit: What a unit is worth, which only `none` needs.

    Raises:
        ValueError: Nothing is to be aligned, and what a unit is worth is not known.
    """
    if alignment == "median":
        return Fit(scale=1.0 / median_ratio(disparity, truth_m))
    if alignment == "least_squares":
        return _least_squares(disparity, truth_m)
    if metres_per_unit is None:
        raise ValueError(
            "the predicted depth is relative, its unit is not known in metres; "
            "expected the alignment 'median' or 'least_squares' rather than 'none'"
        )
    return Fit(scale=1.0 / metres_per_unit)


def median_ratio(disparity: Float[np.ndarray, " pixels"], truth_m: Float[np.ndarray, " pixels"]) -> float:
    """Return the true median depth over the predicted one: what depth has to be multiplied by."""
    return float(np.median(truth_m)) / float(np.median(disparity_to_depth(disparity)))


def _least_squares(disparity: Float[np.ndarray, " pixels"], truth_m: Float[np.ndarray, " pixels"]) -> Fit:
    """Minimise the mean of (scale * disparity + shift - disparity of the truth)^2 in closed form."""
    predicted, wanted = disparity.astype(np.float64), depth_to_disparity(truth_m.astype(np.float64))
    centre = float(predicted.mean())
    spread = predicted - centre
    variance = float(np.mean(spread * spread))
    flat = variance <= (_FLAT * centre) ** 2
    scale = 0.0 if flat else float(np.mean(spread * wanted)) / variance
    return Fit(scale=scale, shift=float(wanted.mean()) - scale * centre)
