"""A frame's depth where its views leave little doubt: planes swept, matched semi-globally, and checked.

Four checks, each of which may take a pixel away: the views must explain it, no other depth may explain it
nearly as well, it must not be one of a few, and, where frames of other times know their own depth, one of
them must say the same. The last also takes away what moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from model.disparity import depth_to_disparity, disparity_to_depth
from training.data.sequence import View
from training.geometry import backproject, sampling_grid
from training.hints.plane_sweep import cost_volume
from training.hints.semi_global import SmoothnessPenalties, aggregate


@dataclass(frozen=True, kw_only=True)
class HintsConfig:
    """How depth is matched and what is believed."""

    planes: int = 96
    nearest_m: float = 3.6
    farthest_m: float = 80.0
    """Depth beyond is no hint; planes go on to infinity."""
    most_cost: float = 0.35
    """The photometric error, 0 to 1, up to which views explain a pixel."""
    least_uniqueness: float = 1.1
    """By what factor any other depth, three planes away or more, has to cost more."""
    least_patch_px: int = 40
    """Smaller patches of one surface are taken for accidents, as between leaves and sky."""
    tolerance: float = 0.05
    """The relative difference up to which frames of other times say the same."""
    penalties: SmoothnessPenalties = field(default_factory=SmoothnessPenalties)

    def __post_init__(self) -> None:
        if self.planes < 8:
            raise ValueError(f"planes is {self.planes}; expected at least 8")
        if not 0 < self.nearest_m < self.farthest_m:
            raise ValueError(
                f"nearest_m is {self.nearest_m} and farthest_m {self.farthest_m}; "
                "expected 0 < nearest_m < farthest_m"
            )

    @property
    def disparities(self) -> Float32[np.ndarray, " planes"]:
        """The planes in 1/m, evenly from almost 0."""
        nearest = depth_to_disparity(self.nearest_m)
        return np.linspace(nearest / (4 * self.planes), nearest, self.planes, dtype=np.float32)


def match(
    image: UInt8[np.ndarray, "height width 3"],
    views: Sequence[View],
    intrinsics: Float32[np.ndarray, "3 3"],
    config: HintsConfig,
) -> Float32[np.ndarray, "height width"]:
    """Return a frame's depth in metres, 0 where its views leave doubt.

    Args:
        image: The frame.
        views: Of known poses, of the frame's size.
        intrinsics: In pixels of the frame.
        config: How to match, and what to believe.
    """
    grey = _grey(image)
    poses = [view.source_T_target for view in views if view.source_T_target is not None]
    if not views or len(poses) < len(views):
        raise ValueError(
            f"{len(views)} views, {len(poses)} of them with poses; expected one or more, all with"
        )
    cost = cost_volume(
        torch.from_numpy(grey)[None],
        torch.from_numpy(np.stack([_grey(view.image) for view in views]))[:, None],
        torch.from_numpy(intrinsics),
        torch.from_numpy(np.stack(poses)),
        config.disparities.tolist(),
    )
    total = aggregate(cost, grey, config.penalties)
    best = total.argmin(axis=2)
    explained = np.take_along_axis(cost, best[..., None], axis=2)[..., 0] <= config.most_cost
    disparity = np.interp(_between(total, best), np.arange(config.planes), config.disparities)
    certain = explained & _unique(total, best, config.least_uniqueness)
    certain &= disparity > depth_to_disparity(config.farthest_m)
    return _without_specks(np.where(certain, disparity_to_depth(disparity), 0).astype(np.float32), config)


def confirmed(
    depth_m: Float32[np.ndarray, "height width"],
    others_m: Mapping[int, Float32[np.ndarray, "height width"]],
    source_T_target: Mapping[int, Float32[np.ndarray, "4 4"]],
    intrinsics: Float32[np.ndarray, "3 3"],
    tolerance: float,
) -> Bool[np.ndarray, "height width"]:
    """Return where one of the other frames has the same point at the same place.

    Args:
        depth_m: Of the frame; 0 where it is not known.
        others_m: Of other frames, by any number.
        source_T_target: Moves the frame's points to each of them.
        intrinsics: Of all of them, in pixels.
        tolerance: The relative difference that counts as the same.
    """
    agreed = np.zeros(depth_m.shape, bool)
    known = depth_m > 0
    disparity = np.where(known, depth_to_disparity(np.maximum(depth_m, 1e-6)), 1.0).astype(np.float32)
    camera = torch.from_numpy(intrinsics)[None]
    points = backproject(torch.from_numpy(depth_m)[None, None], camera)[0].numpy()
    for number, other_m in others_m.items():
        pose = source_T_target[number]
        grid = sampling_grid(
            torch.from_numpy(disparity)[None, None], camera, torch.from_numpy(pose)[None, None]
        )
        expected = np.tensordot(pose[2, :3], points, axes=1) + pose[2, 3]
        height, width = depth_m.shape
        places = grid.places[0, 0].numpy()
        column = np.clip(((places[..., 0] + 1) * width / 2).astype(np.int64), 0, width - 1)
        row = np.clip(((places[..., 1] + 1) * height / 2).astype(np.int64), 0, height - 1)
        there = other_m[row, column]
        same = np.abs(there - expected) < tolerance * expected
        agreed |= known & (there > 0) & same & grid.valid[0, 0].numpy()
    return agreed


def _without_specks(
    depth_m: Float32[np.ndarray, "height width"], config: HintsConfig
) -> Float32[np.ndarray, "height width"]:
    """Return the depth of patches of one surface that are large enough; 0 elsewhere.

    Two planes are the most that neighbours on one surface may differ by.
    """
    steps_a_plane = 16
    known = depth_m > 0
    planes = np.where(known, config.planes * config.nearest_m / np.maximum(depth_m, 1e-6), 0)
    steps = np.round(planes * steps_a_plane).astype(np.int16)
    kept, _ = cv2.filterSpeckles(steps, 0, config.least_patch_px - 1, 2 * steps_a_plane)
    cleaned: Float32[np.ndarray, "height width"] = np.where(kept > 0, depth_m, 0).astype(np.float32)
    return cleaned


def _grey(image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)


def _between(
    total: Float32[np.ndarray, "height width planes"], best: Int64[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """Return the place of the least cost between planes: that of a parabola through three."""
    middle = np.clip(best, 1, total.shape[2] - 2)
    before, here, after = (
        np.take_along_axis(total, (middle + step)[..., None], axis=2)[..., 0] for step in (-1, 0, 1)
    )
    bend = np.maximum(before + after - 2 * here, 1e-9)
    place: Float[np.ndarray, "height width"] = middle + np.clip((before - after) / (2 * bend), -0.5, 0.5)
    return place


def _unique(
    total: Float32[np.ndarray, "height width planes"], best: Int64[np.ndarray, "height width"], factor: float
) -> Bool[np.ndarray, "height width"]:
    """Return where every plane that is not near the best costs so much more."""
    least = np.take_along_axis(total, best[..., None], axis=2)[..., 0]
    others = total.copy()
    for step in range(-2, 3):
        near = np.clip(best + step, 0, total.shape[2] - 1)[..., None]
        np.put_along_axis(others, near, np.inf, axis=2)
    unique: Bool[np.ndarray, "height width"] = others.min(axis=2) >= factor * np.maximum(least, 1e-6)
    return unique
