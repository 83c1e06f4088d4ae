"""A frame's depth from a camera beside it: OpenCV's semi-global matching, where pixels are met along rows.

Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information", TPAMI 2008, in OpenCV's
variant (costs of Birchfield and Tomasi). It errs less than the plane sweep, covers a little more, and takes a
tenth of the time (`benchmarks/hints.py`); but it knows one view only, and that from beside. It does not know
files.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from training.data.sequence import View

_STEPS_A_PIXEL = 16
_LEVELS = 16
"""The matcher takes a number of disparities that is a multiple of this."""
_ASIDE = 0.02
"""By how much of its way the other camera may be higher, ahead or turned, and still count as beside."""


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
    images = (image, view.image) if way_m < 0 else (image[:, ::-1], view.image[:, ::-1])
    metres_px = abs(way_m) * float(intrinsics[0, 0])
    disparity = _disparity(*images, metres_px / config.nearest_m, config)
    least = metres_px / config.farthest_m
    depth_m = np.where(disparity > least, metres_px / np.maximum(disparity, least), 0)
    return np.ascontiguousarray(depth_m if way_m < 0 else depth_m[:, ::-1], dtype=np.float32)


def _disparity(
    left: UInt8[np.ndarray, "height width 3"],
    right: UInt8[np.ndarray, "height width 3"],
    most: float,
    config: RectifiedConfig,
) -> Float32[np.ndarray, "height width"]:
    """Return disparity in pixels, below 0 where there is none."""
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
        mode=cv2.STEREO_SGBM_MODE_HH,
    )
    # The first columns could not be matched otherwise: the matcher asks for all levels to be inside.
    wider = [cv2.copyMakeBorder(one, 0, 0, levels, 0, cv2.BORDER_REPLICATE) for one in (left, right)]
    steps = matcher.compute(*wider)[:, levels:]
    disparity: Float32[np.ndarray, "height width"] = steps.astype(np.float32) / _STEPS_A_PIXEL
    return disparity
