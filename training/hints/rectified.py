"""A frame's depth from a camera beside it: OpenCV's semi-global matching, where pixels are met along rows.

Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information", TPAMI 2008, in OpenCV's
variant (costs of Birchfield and Tomasi). It errs less than the plane sweep and takes a sixth of the time
(`benchmarks/hints.py`); but it knows one view only, and that from beside. What only one of the two cameras
sees gets some depth all the same, mostly that of what hides it; so both are asked, and have to agree. Its
smoothness carries near surfaces a few pixels over their outlines; there, what stands behind gets a hearing
of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from training.data.sequence import View

_STEPS_A_PIXEL = 16
_LEVELS = 16
"""The matcher takes a number of disparities that is a multiple of this."""
_OUTLINE = 1.15
"""Where disparity jumps by so much, one surface ends before another."""
_ALIKE = 12.0
"""The difference of grey values, 0 to 255, that takes two thirds of a neighbour's weight."""
_MOST_COST = 40.0
"""Differences beyond are as bad: what is hidden from one camera may look like anything."""
_NOISE = 0.5
"""Added to costs, lest a ratio of two small ones decide."""
_ASIDE = 0.02
"""By how much of its way the other camera may be higher, ahead or turned, and still count as beside."""

_MOST_OFFSET_PX = 10.0
"""Pairs that are farther off should be rectified anew."""


@dataclass(frozen=True, kw_only=True)
class RectifiedConfig:
    """How pairs are matched and what is believed."""

    nearest_m: float = 2.0
    farthest_m: float = 80.0
    """Depth beyond is no hint."""
    block_px: int = 3
    """What is compared around a pixel; odd."""
    uniqueness_percent: int = 8
    """By how much any other depth has to cost more."""
    least_patch: float = 0.003
    """Smaller patches of one surface, as shares of the image, are taken for accidents."""
    apart_px: float | None = 1.0
    """How far the cameras' own disparities may differ at a pixel that both see; None: only one is asked."""
    outline_px: int = 3
    """How far from an outline a hint of the near surface is doubted (foreground fattening); 0: nowhere."""
    outline_ratio: float = 1.0
    """A doubted hint stays where the surface behind would cost more than this many times as much."""

    offset_px: float = 0.0
    """Added to every disparity: by how much a pair is known to be rectified amiss, as LiDAR tells. 0.5 for
    KITTI's drive 0013 at 1280 pixels of width."""

    def __post_init__(self) -> None:
        if not 0 < self.nearest_m < self.farthest_m:
            raise ValueError(
                f"nearest_m is {self.nearest_m} and farthest_m {self.farthest_m}; "
                "expected 0 < nearest_m < farthest_m"
            )
        if self.block_px < 1 or self.block_px % 2 == 0:
            raise ValueError(f"block_px is {self.block_px}; expected an odd number")
        if not 0 <= self.least_patch < 1:
            raise ValueError(
                f"least_patch is {self.least_patch}; expected a share of the image, from 0 to below 1"
            )
        if not abs(self.offset_px) <= _MOST_OFFSET_PX:
            raise ValueError(
                f"offset_px is {self.offset_px}; expected -{_MOST_OFFSET_PX} to {_MOST_OFFSET_PX} pixels"
            )
        if self.apart_px is not None and self.apart_px < 0:
            raise ValueError(f"apart_px is {self.apart_px}; expected at least 0")
        if self.outline_px < 0 or self.outline_ratio < 1:
            raise ValueError(
                f"outline_px is {self.outline_px} and outline_ratio {self.outline_ratio}; "
                "expected at least 0 and 1"
            )


def is_beside(view: View) -> bool:
    """Return whether a view's camera looks the same way from straight beside, so that rows meet rows."""
    pose = view.source_T_target
    if pose is None or not pose[0, 3]:
        return False
    way = abs(float(pose[0, 3]))
    turned = float(np.abs(pose[:3, :3] - np.eye(3)).max())
    return turned < _ASIDE * way and float(np.abs(pose[1:3, 3]).max()) < _ASIDE * way


def match_beside(
    image: UInt8[np.ndarray, "height width 3"],
    view: View,
    intrinsics: Float32[np.ndarray, "3 3"],
    config: RectifiedConfig,
) -> Float32[np.ndarray, "height width"]:
    """Return a frame's depth in metres, 0 where the other view leaves doubt.

    Args:
        image: The frame.
        view: From beside, of the frame's size, with the same intrinsics.
        intrinsics: In pixels of the frame.
        config: How to match, and what to believe.

    Raises:
        ValueError: The view is not from beside.
    """
    if not is_beside(view) or view.source_T_target is None:
        raise ValueError(f"a view of pose {view.source_T_target}; expected one from straight beside")
    way_m = float(view.source_T_target[0, 3])
    # The matcher takes the other camera to be on the right, where what is near lies farther left.
    left, right = (image, view.image) if way_m < 0 else (cv2.flip(image, 1), cv2.flip(view.image, 1))
    metres_px = abs(way_m) * float(intrinsics[0, 0])
    most = metres_px / config.nearest_m
    disparity = _disparity(left, right, most, config)
    if config.apart_px is not None:
        # In the mirror, the camera on the right is the one on the left.
        mirrored = _disparity(cv2.flip(right, 1), cv2.flip(left, 1), most, config)
        disparity = np.where(_agreed(disparity, mirrored[:, ::-1], config.apart_px), disparity, -1)
    disparity = np.where(disparity > 0, disparity + config.offset_px, -1)
    least = metres_px / config.farthest_m
    depth_m = np.where(disparity > least, metres_px / np.maximum(disparity, least), 0)
    return np.ascontiguousarray(depth_m if way_m < 0 else depth_m[:, ::-1], dtype=np.float32)


def _disparity(
    left: UInt8[np.ndarray, "height width 3"],
    right: UInt8[np.ndarray, "height width 3"],
    most: float,
    config: RectifiedConfig,
) -> Float32[np.ndarray, "height width"]:
    """Return the left camera's disparity in pixels, below 0 where there is none."""
    levels = math.ceil(most / _LEVELS) * _LEVELS
    height, width, channels = left.shape
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=levels,
        blockSize=config.block_px,
        P1=8 * channels * config.block_px**2,
        P2=32 * channels * config.block_px**2,
        disp12MaxDiff=1,
        preFilterCap=31,
        uniquenessRatio=config.uniqueness_percent,
        speckleWindowSize=round(config.least_patch * height * width),
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # The first columns could not be matched otherwise: the matcher asks for all levels to be inside.
    wider = [cv2.copyMakeBorder(one, 0, 0, levels, 0, cv2.BORDER_REPLICATE) for one in (left, right)]
    steps = matcher.compute(*wider)[:, levels:]
    disparity: Float32[np.ndarray, "height width"] = steps.astype(np.float32) / _STEPS_A_PIXEL
    if config.outline_px:
        disparity[_fattened(disparity, left, right, config)] = -1
    return disparity


def _agreed(
    left: Float32[np.ndarray, "height width"],
    right: Float32[np.ndarray, "height width"],
    apart_px: float,
) -> Bool[np.ndarray, "height width"]:
    """Return where the right camera has the left one's disparity, at either column beside the place met."""
    width = left.shape[1]
    met = np.arange(width, dtype=np.float32) - left
    agreed = np.zeros(left.shape, bool)
    for column in (np.floor(met), np.ceil(met)):
        there = np.take_along_axis(right, np.clip(column, 0, width - 1).astype(np.int64), axis=1)
        agreed |= np.abs(there - left) <= apart_px
    both: Bool[np.ndarray, "height width"] = agreed & (left > 0) & (met >= 0)
    return both


def _fattened(
    disparity: Float32[np.ndarray, "height width"],
    left: UInt8[np.ndarray, "height width 3"],
    right: UInt8[np.ndarray, "height width 3"],
    config: RectifiedConfig,
) -> Bool[np.ndarray, "height width"]:
    """Return where a near surface may reach over its outline: what is behind explains the pixel as well."""
    known = disparity > 0
    around = np.ones((2 * config.outline_px + 1,) * 2, np.uint8)
    near = cv2.dilate(np.where(known, disparity, 0), around)
    far = np.minimum(cv2.erode(np.where(known, disparity, np.inf), around), near)
    is_outline = known & (near > _OUTLINE * far) & (near - far > 1)
    is_near = disparity - far > near - disparity
    near_cost, far_cost = _costs(left, right, (near, far))
    costs_more = far_cost > config.outline_ratio * near_cost
    fattened: Bool[np.ndarray, "height width"] = is_outline & is_near & ~costs_more
    return fattened


def _costs(
    left: UInt8[np.ndarray, "height width 3"],
    right: UInt8[np.ndarray, "height width 3"],
    disparities: Sequence[Float32[np.ndarray, "height width"]],
) -> list[Float32[np.ndarray, "height width"]]:
    """Return how differently the views look around each pixel, were it and its like at each disparity.

    The neighbours count by how much they look like the pixel (Yoon and Kweon, "Adaptive Support-Weight
    Approach for Correspondence Search", TPAMI 2006), so that those beyond an outline hardly do.
    """
    height, width = left.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None].repeat(width, axis=1)
    met_columns = [np.arange(width, dtype=np.float32) - disparity for disparity in disparities]
    wider = cv2.copyMakeBorder(left, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    totals = [np.zeros((height, width), np.float32) for _ in disparities]
    weights = np.zeros((height, width), np.float32)
    for down in (-1, 0, 1):
        for along in (-1, 0, 1):
            there = wider[1 + down : 1 + down + height, 1 + along : 1 + along + width]
            weight = cv2.exp(_difference(there, left) * (-1 / _ALIKE))
            weights += weight
            for columns, total in zip(met_columns, totals, strict=True):
                met = cv2.remap(
                    right, columns + along, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )
                total += weight * np.minimum(_difference(there, met), _MOST_COST)
    return [total / weights + _NOISE for total in totals]


def _difference(
    one: UInt8[np.ndarray, "height width 3"], other: UInt8[np.ndarray, "height width 3"]
) -> Float32[np.ndarray, "height width"]:
    """Return the mean over the channels of their absolute differences."""
    apart = cv2.absdiff(one, other).astype(np.float32)
    difference: Float32[np.ndarray, "height width"] = cv2.transform(apart, np.full((1, 3), 1 / 3, np.float32))
    return difference
