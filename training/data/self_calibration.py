"""The focal length of a camera, from how points move through frames of its video while it turns.

Points are followed through short windows of frames. In each window, poses and depths are fitted to their
paths (bundle adjustment: Triggs et al., "Bundle Adjustment - A Modern Synthesis", 1999), for a range of
focal lengths; the one that explains the paths best is the camera's. A camera that does not turn tells
nothing, and then nothing is returned.
"""

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from training.data.followed import Grey, Points, moved, points_in, scale_of, shrunk

_log = logging.getLogger(__name__)

_POINTS, _LEAST_POINTS = 60, 25
"""Of a window."""
_FOV_DEG = (30.0, 38.0, 47.0, 56.0, 66.0, 77.0, 89.0, 102.0, 116.0)
"""Horizontal fields of view that are tried; between them the cost is taken for a parabola."""
_ROBUST_PX = (8.0, 2.0, 0.5)
"""Errors above this count less and less: points on things that move, and points that were lost. All errors
are large at first, so that the bound is, too."""
_LEAST_MOTION_PX = 0.4
"""Points that move less while others move belong to the car."""
_LEAST_GAIN = 0.1
"""By what share the cost two steps of fields of view away has to exceed the least, on both sides, for the
video to tell. KITTI's drives stay below: of the one that turns most, 87.0 degrees came out for 81.4."""

_DIRECTIONS = ((0.0, 0.0, -1.0), (0.8, 0.0, -0.6), (-0.8, 0.0, -0.6))
"""In which points are first thought to move: a fit that starts the wrong way may not find back."""
_FIRST_MOVE = 0.02
"""By a frame, of the depth of all points."""
_STIFF = 0.02
"""How strongly depths are held together, in pixels by a factor of e."""
_NEAREST = 0.05
_STEPS, _ENOUGH = 20, 1e-3
"""Of the fit at most, and the share of the error below which another brings too little."""
_TINY = 1e-9

Paths = Float64[np.ndarray, "frames points 2"]


def focal_per_width(
    windows: Sequence[Sequence[Grey]],
    centre: tuple[float, float],
    mask: Bool[np.ndarray, "rows columns"] | None = None,
) -> float | None:
    """Return a camera's focal length over the width of its frames; None where they do not tell.

    Pixels are taken to be square.

    Args:
        windows: Each some frames that follow one another, all of one size.
        centre: The principal point, x and y in their pixels.
        mask: False where frames show what moves with the camera; None: nowhere.
    """
    paths = [found for window in windows if (found := _followed(window, mask)) is not None]
    if not paths:
        return None
    width = windows[0][0].shape[1]
    log_focal = np.log(0.5 / np.tan(np.radians(_FOV_DEG) / 2))
    costs = np.sum([_costs(one, centre, width * np.exp(log_focal)) for one in paths], axis=0)
    best = int(costs.argmin())
    _log.debug("costs of %s degrees: %s", _FOV_DEG, costs.round(1))
    if best in (0, len(costs) - 1):
        return None
    beside = costs[max(0, best - 2)], costs[min(len(costs) - 1, best + 2)]
    if min(beside) < (1 + _LEAST_GAIN) * costs[best]:
        return None
    near = slice(best - 1, best + 2)
    bend, slope, _ = np.polyfit(log_focal[near] - log_focal[best], costs[near], 2)
    return float(np.exp(log_focal[best] - slope / (2 * bend)))


def _followed(window: Sequence[Grey], mask: Bool[np.ndarray, "rows columns"] | None) -> Paths | None:
    """Follow points from the middle frame to both ends, in pixels of the frames, centres at +0.5."""
    scale, frames = scale_of(window[0]), [shrunk(frame) for frame in window]
    middle, size = len(frames) // 2, frames[0].shape[::-1]
    small = None if mask is None else cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    start = points_in(frames[middle], 4 * _POINTS, None if small is None else small > 0)
    if not len(start):
        return None
    paths = np.full((len(frames), len(start), 2), np.nan)
    paths[middle] = start
    for order in (range(middle, 0, -1), range(middle, len(frames) - 1)):
        step = -1 if order.step < 0 else 1
        for at in order:
            paths[at + step] = moved(frames[at], frames[at + step], paths[at])
    farthest_px = np.linalg.norm(paths - paths[middle], axis=2).max(axis=0)
    whole = np.isfinite(paths).all(axis=(0, 2)) & (farthest_px > _LEAST_MOTION_PX)
    if whole.sum() < _LEAST_POINTS:
        return None
    chosen = np.flatnonzero(whole)[:_POINTS]
    followed: Paths = (paths[:, chosen] + 0.5) / scale
    return followed


def _costs(
    paths: Paths, centre: tuple[float, float], focals: Float64[np.ndarray, " focals"]
) -> Float64[np.ndarray, " focals"]:
    """Return how badly a window's paths are explained by each focal length, in pixels."""
    middle, between = len(paths) // 2, len(focals) // 2
    others, reference = np.delete(paths, middle, axis=0) - centre, paths[middle] - centre
    offsets = np.delete(np.arange(len(paths)) - middle, middle)
    costs = np.full(len(focals), np.inf)
    for direction in _DIRECTIONS:
        window = Window(others, reference)
        window.poses[:, 3:] = _FIRST_MOVE * offsets[:, None] * np.array(direction)
        first = window.fit(float(focals[between]))
        at_first = window.poses, window.log_disparity
        # From there to both ends, each focal length starts from what the one beside it has led to.
        for order in (range(between - 1, -1, -1), range(between + 1, len(focals))):
            window.poses, window.log_disparity = at_first
            for focal in order:
                costs[focal] = min(costs[focal], window.fit(float(focals[focal])))
        costs[between] = min(costs[between], first)
    return costs


class Window:
    """Paths of points through some frames, with the poses and depths that explain them best.

    Poses take points from the middle frame to the others; depths are logarithms of disparity.
    """

    def __init__(self, seen: Paths, reference: Points) -> None:
        self._seen, self._reference = seen, reference
        self.poses = np.zeros((len(seen), 6))
        """Rotation vectors and moves."""
        self.log_disparity = np.zeros(len(reference))

    def fit(self, focal: float) -> float:
        """Improve poses and depths, by the method of Levenberg and Marquardt, and return what is left.

        Points do not depend on each other, so depths are eliminated first (the Schur complement).
        """
        for robust_px in _ROBUST_PX:
            damping, cost = 1e-3, self.cost(focal, robust_px)
            for _ in range(_STEPS):
                off, by_pose, by_depth = self.slopes(focal)
                weight = 1 / np.hypot(1, off / robust_px)
                poses, depths = self._step(off, by_pose, by_depth, weight, damping)
                before = self.poses, self.log_disparity
                self.poses, self.log_disparity = self.poses + poses, self.log_disparity + depths
                now = self.cost(focal, robust_px)
                if now < cost:
                    gained, cost, damping = cost - now, now, damping / 4
                    if gained < _ENOUGH * cost:
                        break
                else:
                    (self.poses, self.log_disparity), damping = before, damping * 5
        return cost

    def cost(self, focal: float, robust_px: float) -> float:
        """Return the sum over all errors, in which large ones count by their size and not by its square."""
        off, _ = self._errors(focal)
        return float(
            2 * robust_px**2 * np.sum(np.hypot(1, off / robust_px) - 1)
            + np.sum((_STIFF * self.log_disparity) ** 2)
        )

    def slopes(self, focal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the errors, and their derivatives by their frame's pose and by their point's depth."""
        off, places = self._errors(focal)
        by_place = np.zeros((*off.shape, 3))
        by_place[..., 0, 0] = by_place[..., 1, 1] = focal / places[..., 2]
        by_place[..., :, 2] = -focal * places[..., :2] / places[..., 2:] ** 2
        turns, moves, disparity = self.poses[:, :3], self.poses[:, 3:], np.exp(self.log_disparity)
        by_turn = -np.einsum(
            "fij,pjk,fkl->fpil", _rotations(turns), _cross(self._rays(focal)), _right_jacobians(turns)
        )
        by_pose = np.concatenate([by_place @ by_turn, by_place * disparity[None, :, None, None]], axis=-1)
        by_depth = np.einsum("fpij,fj->fpi", by_place, moves) * disparity[None, :, None]
        return off, by_pose, by_depth

    def _step(
        self, off: np.ndarray, by_pose: np.ndarray, by_depth: np.ndarray, weight: np.ndarray, damping: float
    ) -> tuple[np.ndarray, np.ndarray]:
        count = len(self._seen)
        weighted = by_pose * weight[..., None]
        poses = np.einsum("fpij,fpik->fjk", weighted, by_pose)
        mixed = np.einsum("fpij,fpi->fjp", weighted, by_depth).reshape(6 * count, -1)
        depths = np.einsum("fpi,fpi->p", weight * by_depth, by_depth) + _STIFF**2
        to_poses = -np.einsum("fpij,fpi->fj", weighted, off).ravel()
        to_depths = -np.einsum("fpi,fpi->p", weight * by_depth, off) - _STIFF**2 * self.log_disparity
        whole = np.zeros((6 * count, 6 * count))
        for frame, block in enumerate(poses):
            at = slice(6 * frame, 6 * frame + 6)
            whole[at, at] = block
        whole[np.diag_indices_from(whole)] *= 1 + damping
        depths *= 1 + damping
        reduced = whole - (mixed / depths) @ mixed.T
        moved = np.linalg.lstsq(reduced, to_poses - mixed @ (to_depths / depths), rcond=None)[0]
        return moved.reshape(count, 6), (to_depths - mixed.T @ moved) / depths

    def _errors(self, focal: float) -> tuple[np.ndarray, np.ndarray]:
        """Return in pixels how far points are seen from where they should be, and their places."""
        places = np.einsum("fij,pj->fpi", _rotations(self.poses[:, :3]), self._rays(focal))
        places = places + self.poses[:, None, 3:] * np.exp(self.log_disparity)[None, :, None]
        places[..., 2] = np.maximum(places[..., 2], _NEAREST)
        return focal * places[..., :2] / places[..., 2:] - self._seen, places

    def _rays(self, focal: float) -> Float64[np.ndarray, "points 3"]:
        return np.concatenate([self._reference / focal, np.ones((len(self._reference), 1))], axis=1)


def _cross(vectors: Float64[np.ndarray, "count 3"]) -> Float64[np.ndarray, "count 3 3"]:
    """Return the matrices whose products are cross products."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def _rotations(vectors: Float64[np.ndarray, "frames 3"]) -> Float64[np.ndarray, "frames 3 3"]:
    """Return the rotations about axes by their lengths (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None] + _TINY
    cross = _cross(vectors) / angle
    turned: Float64[np.ndarray, "frames 3 3"] = (
        np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    )
    return turned


def _right_jacobians(vectors: Float64[np.ndarray, "frames 3"]) -> Float64[np.ndarray, "frames 3 3"]:
    """Return how rotations change with their vectors: R(w + dw) = R(w) R(J dw) for small dw."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None] + _TINY
    cross = _cross(vectors) / angle
    square = cross @ cross
    changed: Float64[np.ndarray, "frames 3 3"] = (
        np.eye(3) - (1 - np.cos(angle)) / angle * cross + (1 - np.sin(angle) / angle) * square
    )
    return changed
