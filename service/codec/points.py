"""Metres for a depth map from points whose depth is known, by a fit that wrong points do not pull away."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from service.contract.errors import InvalidArgument

Values = Float64[np.ndarray, " points"]

POINT_ERROR = 0.15
"""By how much depth at the middle distance of the points is usually off, as a share of it, once the scale is
right: what the shipped student shows against LiDAR (benchmarks/lens.md). It grows with the root of depth."""
CHECKPOINT_ERROR = 0.15
"""Likewise how well a checkpoint's own metres are known; they count as one more point."""
_FREEDOM = 3.0
"""Of Student's t distribution, in which errors lie: a wrong point counts the less the more wrong it is."""
_LOSS = 1.1
"""By how much the standard error of such weighting is above that of a mean, where no point is wrong."""
_ROUNDS = 12
_LEAST_FOR_SHIFT = 6
"""Points, for a shift of disparity to be tried where a network does not need one."""
_MOST_TRIED = 400
"""Points by which a shift is proven, spread evenly over all: more say hardly more, and take their time."""
_FOLDS = 10
_PROOF = 2.0
"""Standard errors by which held-out points have to be nearer for a shift to be believed."""
_PAIRS = 200
_WRONG = 3.0
"""Usual errors that a wrong point counts for at most where fits are compared."""
_AGREES = 2.5
"""Usual errors within which a point counts as one that agrees."""
_MOST_INDEPENDENT = 100
"""Points that count in an uncertainty: more lie beside each other, and err alike."""
_PRIOR_WEIGHT = 2.0
"""As if so many points had shown the usual error, in estimates of how far this picture's points scatter."""


@dataclass(frozen=True, kw_only=True)
class PointFit:
    """How disparity becomes metres: ``disparity in 1/m = scale * disparity + shift``."""

    scale: float
    shift: float
    """0 unless the network needs one, or held-out points prove it."""
    points: int
    agreeing: int
    """Of the points; the others look wrong."""
    residual: float
    """The points' median distance from the fit, as a share of their depth."""
    uncertainty: float
    """How well the scale is known: a standard error, as a share of depth."""


def fit_points(
    disparity: Values, depth_m: Values, *, affine: bool, usual_metres_per_unit: float | None = None
) -> PointFit:
    """Fit a scale to points, and a shift of disparity where it is needed or proven.

    Args:
        disparity: The network's at the points, in 1/unit; positive.
        depth_m: What is known there.
        affine: Whether the network's disparity has an unknown shift.
        usual_metres_per_unit: What a unit is worth by the checkpoint, which counts as one more point.

    Raises:
        InvalidArgument: There is no point, or one where two are needed.
    """
    if affine:
        if len(disparity) < 2 or np.ptp(disparity) <= 1e-6 * disparity.max():
            raise InvalidArgument(
                f"{len(disparity)} known points, at one disparity, fix no scale and shift; this network's "
                "disparity has both: expected at least two points at different depths"
            )
        return _described(_affine(disparity, depth_m), disparity, depth_m)
    if not len(disparity):
        raise InvalidArgument("there is no known point inside the picture; expected at least one")
    scaled = _scaled(disparity, depth_m, usual_metres_per_unit)
    if _shift_is_proven(disparity, depth_m):
        return _described(_affine(disparity, depth_m), disparity, depth_m)
    return _described(scaled, disparity, depth_m, usual=usual_metres_per_unit is not None)


def _usual_errors(disparity: Values) -> Values:
    errors: Values = POINT_ERROR * np.sqrt(np.median(disparity) / np.maximum(disparity, 1e-12))
    return errors


def _scaled(disparity: Values, depth_m: Values, usual: float | None) -> tuple[float, float]:
    """Return the most likely scale, by repeated weighting of the log ratios, from their weighted median."""
    ratios, errors = np.log(depth_m * disparity), _usual_errors(disparity)
    if usual is not None:
        ratios, errors = np.append(ratios, np.log(usual)), np.append(errors, CHECKPOINT_ERROR)
    centre = _weighted_median(ratios, 1 / errors)
    for _ in range(_ROUNDS):
        weights = _weights((ratios - centre) / errors) / errors**2
        centre = float(np.sum(weights * ratios) / np.sum(weights))
    return 1 / float(np.exp(centre)), 0.0


def _affine(disparity: Values, depth_m: Values) -> tuple[float, float]:
    """Return scale and shift, by repeated weighting, from the pair of points that most others agree with."""
    errors = _usual_errors(disparity)
    design = np.stack([disparity * depth_m, depth_m], axis=1) / errors[:, None]
    target = 1 / errors
    fitted = _best_pair(design, target, disparity)
    for _ in range(_ROUNDS):
        weighted = design * _weights(design @ fitted - target)[:, None]
        fitted = np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=None)[0]
    return float(fitted[0]), float(fitted[1])


def _best_pair(
    design: Float64[np.ndarray, "points 2"], target: Values, disparity: Values
) -> Float64[np.ndarray, " 2"]:
    count = len(target)
    first, second = (
        np.triu_indices(count, 1)
        if count * (count - 1) <= 2 * _PAIRS
        else np.random.default_rng(0).integers(0, count, (2, _PAIRS))
    )
    apart = np.abs(disparity[first] - disparity[second]) > 1e-6 * disparity.max()
    pairs = np.stack([first[apart], second[apart]], axis=1)
    if not len(pairs):
        return np.array([1.0, 0.0]) * float(np.median(target / design[:, 0]))
    fits = np.linalg.solve(design[pairs], target[pairs][..., None])[..., 0]
    step = -(-count // _MOST_TRIED)
    misses = np.median(np.abs(design[::step] @ fits.T - target[::step, None]), axis=0)
    best: Float64[np.ndarray, " 2"] = fits[int(np.argmin(misses))]
    return best


def _shift_is_proven(disparity: Values, depth_m: Values) -> bool:
    """Whether points that a fit has not seen lie clearly nearer to it with a shift than without."""
    step = -(-len(disparity) // _MOST_TRIED)
    disparity, depth_m = disparity[::step], depth_m[::step]
    count = len(disparity)
    if count < _LEAST_FOR_SHIFT or np.ptp(disparity) <= 1e-6 * disparity.max():
        return False
    folds = np.random.default_rng(0).permutation(count) % min(count, _FOLDS)
    gains = np.empty(count)
    for fold in range(folds.max() + 1):
        held, seen = folds == fold, folds != fold
        misses = [
            _miss(fit(disparity[seen], depth_m[seen]), disparity[held], depth_m[held])
            for fit in (lambda d, m: _scaled(d, m, None), _affine)
        ]
        gains[held] = misses[0] - misses[1]
    spread = float(gains.std(ddof=1)) / np.sqrt(count)
    return bool(gains.mean() > _PROOF * spread)


def _miss(fit: tuple[float, float], disparity: Values, depth_m: Values) -> Values:
    """Return each point's distance from a fit in usual errors, of which wrong points have a few at most."""
    distance = np.abs((fit[0] * disparity + fit[1]) * depth_m - 1) / _usual_errors(disparity)
    capped: Values = np.minimum(distance, _WRONG)
    return capped


def _described(
    fit: tuple[float, float], disparity: Values, depth_m: Values, *, usual: bool = False
) -> PointFit:
    errors = _usual_errors(disparity)
    shares = np.abs((fit[0] * disparity + fit[1]) * depth_m - 1)
    distances = shares / errors
    agreeing = distances < _AGREES
    # The points' own scatter, in usual errors; a few points say little of it, so the usual one counts along.
    scatter = float(np.sum(np.minimum(distances, _AGREES) ** 2))
    free = len(disparity) - 1 + usual
    inflation = (scatter + _PRIOR_WEIGHT) / (free + _PRIOR_WEIGHT)
    evidence = float(np.sum(1 / errors[agreeing] ** 2)) / inflation
    evidence *= min(1.0, _MOST_INDEPENDENT / len(disparity))
    evidence += CHECKPOINT_ERROR**-2 if usual else 0.0
    return PointFit(
        scale=fit[0],
        shift=fit[1],
        points=len(disparity),
        agreeing=int(agreeing.sum()),
        residual=float(np.median(shares)),
        uncertainty=_LOSS / float(np.sqrt(evidence)) if evidence else 1.0,
    )


def _weights(standardised: Values) -> Values:
    weights: Values = (_FREEDOM + 1) / (_FREEDOM + standardised**2)
    return weights


def _weighted_median(values: Values, weights: Values) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, reached, values[order]))
