"""What a mean over pixels hides: edges, vehicles and the sky, each with a number of its own.

Sky and vehicles are where the token probe (`training.networks.semantics`) sees them; edges need nothing but
ground truth. All three are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32

from model.disparity import disparity_to_depth
from model.foundation import FoundationEncoder
from model.images import to_model_batch
from model.weights import WeightsSource
from training.judge.alignment import Alignment
from training.judge.comparison import Comparison
from training.judge.protocols.protocol import JudgedFrame, JudgingProtocol
from training.networks.semantics import SHIPPED_PROBE, load_probe

_APART_SHARE = 1 / 300
"""How far apart two pixels are between which depth may jump, of the width: 4 pixels of KITTI's 1242."""
_JUMP, _SMOOTH = 1.25, 1.02
"""Two depths of a larger ratio are of two surfaces, and of a smaller one are of the same."""
_SURE, _SURE_NOT = 0.9, 0.1
_LEAST_PIXELS = 100
"""Of a vehicle that counts, measured."""
_FARTHEST_QUANTILE = 0.99
_PROBE_SIZE = (192, 640)

Depth = Float32[np.ndarray, "height width"]
Chance = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class Edges:
    """How depth jumps in one image."""

    jumps: int
    """How many pairs of pixels lie on two surfaces."""
    error: float
    """Mean over them of |predicted log ratio - true one| / true one: 0 as in truth, 1 where none was seen."""
    false: float
    """Mean |predicted log ratio| over pairs on one surface, which should be near 0."""


@dataclass(frozen=True, kw_only=True)
class Aspects:
    """One image's edges, vehicles and sky; None where it has none."""

    key: str
    edges: Edges | None
    vehicles: tuple[float, ...]
    """Predicted over true median depth less 1, of each: positive is too far."""
    sky: float | None
    """Share of the sky that lies beyond the farthest surface."""


class Semantics:
    """Where the token probe sees sky and vehicles.

    Args:
        foundation_weights: Of the foundation model that the shipped probe was fitted on.

    Raises:
        ProbeError: The weights are others.
    """

    def __init__(self, foundation_weights: WeightsSource) -> None:
        self._probe = load_probe(SHIPPED_PROBE)
        self._foundation = FoundationEncoder(self._probe.foundation, foundation_weights).eval()
        self._probe.check(self._foundation)

    def chances(self, image: np.ndarray, height: int, width: int) -> dict[str, Chance]:
        """Return P(sky), P(road) and P(vehicle) of an RGB image, resized to a size."""
        batch = torch.from_numpy(to_model_batch([image], *_PROBE_SIZE))
        found = self._probe(self._foundation(batch))
        return {
            name: cv2.resize(chance[0, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
            for name, chance in found.items()
        }


def measure_aspects(
    comparison: Comparison,
    image: np.ndarray,
    alignment: Alignment,
    metres_per_unit: float | None,
    semantics: Semantics | None,
) -> Aspects:
    """Measure one image.

    Args:
        comparison: Its prediction beside its ground truth.
        image: As the network was shown it.
        alignment: How the prediction comes to scale, which edges and sky do not depend on.
        metres_per_unit: What a unit of its depth is worth, which `none` needs.
        semantics: Asked for vehicles and sky; None: they are not measured.
    """
    depth_m = comparison.depth_m(alignment, metres_per_unit)
    unscaled = disparity_to_depth(comparison.disparity)
    truth_m = np.where(comparison.counted, comparison.truth_m, 0)
    vehicles: tuple[float, ...] = ()
    sky = None
    if semantics is not None:
        chances = semantics.chances(image, *depth_m.shape)
        vehicles = vehicle_errors(depth_m, truth_m, chances["vehicle"] > _SURE)
        sky = sky_beyond(unscaled, chances["sky"])
    return Aspects(
        key=comparison.key,
        edges=edge_errors(unscaled, truth_m),
        vehicles=vehicles,
        sky=sky,
    )


def edge_errors(depth: Depth, truth: Depth) -> Edges | None:
    """Compare the jumps between measured pixels a few columns or rows apart; None where truth has none.

    Ratios do not depend on the scale of either.
    """
    apart = max(round(depth.shape[1] * _APART_SHARE), 1)
    true_ratios, ratios = [], []
    for axis in (0, 1):
        one, other = _pairs(truth, apart, axis)
        measured = (one > 0) & (other > 0)
        true_ratios.append(np.log(one[measured] / other[measured]))
        near, far = _pairs(depth, apart, axis)
        ratios.append(np.log(near[measured] / far[measured]))
    true_ratio, ratio = np.concatenate(true_ratios), np.concatenate(ratios)
    jumps, smooth = np.abs(true_ratio) > np.log(_JUMP), np.abs(true_ratio) < np.log(_SMOOTH)
    if not jumps.any() or not smooth.any():
        return None
    missed = np.abs(ratio[jumps] - true_ratio[jumps]) / np.abs(true_ratio[jumps])
    return Edges(
        jumps=int(jumps.sum()), error=float(missed.mean()), false=float(np.abs(ratio[smooth]).mean())
    )


def vehicle_errors(
    depth: Depth, truth: Depth, vehicles: Bool[np.ndarray, "height width"]
) -> tuple[float, ...]:
    """Return for each connected vehicle how much farther it is predicted than measured."""
    count, labels = cv2.connectedComponents(vehicles.astype(np.uint8))
    errors = []
    for label in range(1, count):
        there = (labels == label) & (truth > 0)
        if np.count_nonzero(there) >= _LEAST_PIXELS:
            errors.append(float(np.median(depth[there]) / np.median(truth[there]) - 1))
    return tuple(errors)


def sky_beyond(depth: Depth, sky: Chance) -> float | None:
    """Return the share of the sky's pixels that lie beyond the farthest surface; None without a sky."""
    there, surface = sky > _SURE, sky < _SURE_NOT
    if np.count_nonzero(there) < _LEAST_PIXELS or not surface.any():
        return None
    return float((depth[there] > np.quantile(depth[surface], _FARTHEST_QUANTILE)).mean())


@dataclass(frozen=True, kw_only=True)
class AspectsReport:
    """All images together; each image counts the same, and so does each vehicle."""

    images: tuple[Aspects, ...]

    def summary(self) -> dict[str, Any]:
        """Return plain JSON types; None where nothing was there to measure."""
        edges = [image.edges for image in self.images if image.edges is not None]
        vehicles = [error for image in self.images for error in image.vehicles]
        skies = [image.sky for image in self.images if image.sky is not None]
        return {
            "edge_images": len(edges),
            "edge_error": _mean([one.error for one in edges]),
            "false_edges": _mean([one.false for one in edges]),
            "vehicles": len(vehicles),
            "vehicles_too_far": float(np.median(vehicles)) if vehicles else None,
            "vehicles_off": _mean([abs(error) for error in vehicles]),
            "sky_images": len(skies),
            "sky_beyond": _mean(skies),
        }

    def lines(self) -> list[str]:
        """Return the report as text."""
        found = self.summary()
        lines = []
        if found["edge_images"]:
            lines.append(
                f"edges: {found['edge_error']:.3f} of a jump in depth is missing (1: all of it), on surfaces "
                f"depth jumps by {100 * found['false_edges']:.1f} %; {found['edge_images']} images"
            )
        if found["vehicles"]:
            lines.append(
                f"vehicles: {100 * found['vehicles_too_far']:+.1f} % too far (median of "
                f"{found['vehicles']}), "
                f"off by {100 * found['vehicles_off']:.1f} % in the mean"
            )
        if found["sky_images"]:
            lines.append(
                f"sky: {100 * found['sky_beyond']:.0f} % of it lies beyond the farthest surface; "
                f"{found['sky_images']} images"
            )
        return lines or ["edges, vehicles, sky: none of them could be measured"]


class AspectsWatch:
    """Measures each image of an evaluation as it comes; see `training.judge.evaluation.evaluate_all`.

    Args:
        protocol: Of the evaluation.
        alignment: See `measure_aspects`, as of the next two.
        metres_per_unit: What a unit of depth is worth.
        semantics: Asked for vehicles and sky.
    """

    def __init__(
        self,
        protocol: JudgingProtocol,
        alignment: Alignment,
        metres_per_unit: float | None,
        semantics: Semantics | None,
    ) -> None:
        self._protocol = protocol
        self._alignment: Alignment = alignment
        self._metres_per_unit = metres_per_unit
        self._semantics = semantics
        self._images: list[Aspects] = []

    def __call__(self, frame: JudgedFrame, comparison: Comparison) -> None:
        """Measure one image."""
        image = self._protocol.prepare(frame.image)
        self._images.append(
            measure_aspects(comparison, image, self._alignment, self._metres_per_unit, self._semantics)
        )

    def report(self) -> AspectsReport:
        """Return what was measured so far."""
        return AspectsReport(images=tuple(self._images))


def _pairs(values: Depth, apart: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    last = values.shape[axis]
    return values.take(range(last - apart), axis), values.take(range(apart, last), axis)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
