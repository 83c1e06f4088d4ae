"""Ground truth of one photograph from a file: PNG, TIFF, .npy or .exr, in the unit that its maker chose."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from training.data.frames import FrameError

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".exr")
STEPS_PER_M: Mapping[str, float] = MappingProxyType(
    {"kitti": 256.0, "mm": 1000.0, "tum": 5000.0, "cm": 100.0, "m": 1.0}
)
"""What a stored number is divided by to be metres, by the name of the convention."""
CITYSCAPES_DISPARITY = "cityscapes"
"""Disparity of Cityscapes' stereo pairs: pixels = (stored - 1) / 256, and 0 where there is none."""
_UNIT_LIKE = 1.15
"""A ratio is that of two conventions where it is within this factor of it."""


@dataclass(frozen=True, kw_only=True)
class DepthScale:
    """What the numbers of ground truth files mean."""

    steps_per_m: float | None
    """None: 256 of integers, as KITTI stores them, and 1 of floats."""
    cameras: Path | None = None
    """Of Cityscapes' disparity: one camera JSON for all, or the folder of a JSON for each photograph."""

    def __str__(self) -> str:
        if self.cameras is not None:
            return "of Cityscapes' disparity"
        if self.steps_per_m is None:
            return "of 256 steps a metre (integers) or of metres (floats)"
        return f"of {self.steps_per_m:g} steps a metre"

    @classmethod
    def of(cls, text: str, cameras: Path | None = None) -> "DepthScale":
        """Read `--depth-scale`: auto, the name of a convention, or a number of steps a metre.

        Raises:
            ValueError: It is neither.
        """
        if text == CITYSCAPES_DISPARITY:
            if cameras is None:
                raise ValueError(
                    f"--depth-scale {CITYSCAPES_DISPARITY} is disparity and needs the camera; "
                    "expected --calibration with a camera JSON, or the folder of one for each photograph"
                )
            return cls(steps_per_m=None, cameras=cameras)
        if text == "auto":
            return cls(steps_per_m=None)
        try:
            steps = STEPS_PER_M[text] if text in STEPS_PER_M else float(text)
        except ValueError:
            steps = 0.0
        if not 0 < steps < float("inf"):
            names = ", ".join((*STEPS_PER_M, CITYSCAPES_DISPARITY))
            raise ValueError(
                f"--depth-scale is {text!r}; expected auto, {names}, or the number that a metre is stored as"
            )
        return cls(steps_per_m=steps)


@dataclass(frozen=True, kw_only=True)
class TruthFile:
    """A file that holds the depth of each pixel of one photograph."""

    path: Path
    scale: DepthScale

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return metres along the optical axis, 0 where nothing was measured.

        Zeros, negative numbers, NaN and infinity are nothing that was measured.

        Args:
            height: Of the photograph, in pixels.
            width: Likewise.

        Raises:
            FrameError: The file cannot be read, is no depth map, or has another size than the photograph.
        """
        stored = self._stored()
        if stored.shape != (height, width):
            raise FrameError(
                self.path,
                f"is {stored.shape[1]}x{stored.shape[0]} pixels, but its photograph is {width}x{height}",
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            depth_m = self._metres(stored)
        known = np.isfinite(depth_m) & (stored > 0) & (depth_m > 0)
        return np.where(known, depth_m, 0).astype(np.float32)

    def _stored(self) -> np.ndarray:
        suffix = self.path.suffix.lower()
        try:
            if suffix == ".npy":
                stored = np.load(self.path, allow_pickle=False)
            elif suffix == ".exr":
                stored = _read_exr(self.path)
            else:
                stored = cv2.imread(str(self.path), cv2.IMREAD_UNCHANGED)
        except (OSError, ValueError) as error:
            raise FrameError(self.path, f"cannot be read ({error})") from error
        if stored is None:
            raise FrameError(self.path, f"cannot be read; expected one of {', '.join(SUFFIXES)}")
        if stored.ndim != 2 or stored.dtype.kind not in "uif":
            raise FrameError(
                self.path, f"holds {stored.dtype} of shape {stored.shape}; expected one number a pixel"
            )
        if stored.dtype == np.uint8:
            raise FrameError(self.path, "has 8 bits a pixel, too few for depth; expected 16, or floats")
        plain: np.ndarray = stored
        return plain

    def _metres(self, stored: np.ndarray) -> np.ndarray:
        values = stored.astype(np.float64)
        if self.scale.cameras is not None:
            baseline_m, focal_px = _camera(self.path, self.scale.cameras)
            disparity_px: np.ndarray = (values - 1) / 256
            return baseline_m * focal_px / disparity_px
        return values / self._steps(stored)

    def steps_per_m(self) -> float:
        """Return what the file's numbers are divided by to be metres.

        Raises:
            FrameError: The file cannot be read, or is no depth map.
        """
        return self._steps(self._stored())

    def _steps(self, stored: np.ndarray) -> float:
        return self.scale.steps_per_m or (STEPS_PER_M["kitti"] if stored.dtype.kind in "ui" else 1.0)


def name_of(path: Path) -> str:
    """Return what a photograph, its ground truth and its camera have in common: Cityscapes adds the kind."""
    stem = path.stem
    for kind in ("_leftImg8bit", "_disparity", "_camera"):
        stem = stem.removesuffix(kind)
    return stem


def unit_remark(ratio: float, steps_per_m: float) -> str | None:
    """Say that ground truth seems to be in another unit, where a metric network suggests it.

    Args:
        ratio: True over predicted median depth of a network whose unit is known to be metres.
        steps_per_m: What the ground truth's numbers were divided by.
    """
    for name, steps in STEPS_PER_M.items():
        factor = steps / steps_per_m
        near = max(ratio / factor, factor / ratio) < _UNIT_LIKE
        if near and max(factor, 1 / factor) > 1.5:
            return (
                f"the ground truth is {ratio:.3g} times what this metric network predicts, as if it were "
                f"stored with {steps:g} steps a metre and read with {steps_per_m:g}; "
                f"--depth-scale {name} reads it so"
            )
    return None


def _camera(truth: Path, cameras: Path) -> tuple[float, float]:
    """Return the baseline in metres and the horizontal focal length in pixels."""
    path = cameras / f"{name_of(truth)}_camera.json" if cameras.is_dir() else cameras
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return float(values["extrinsic"]["baseline"]), float(values["intrinsic"]["fx"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FrameError(path, f"is no camera of Cityscapes ({error!r}); expected baseline and fx") from error


def _read_exr(path: Path) -> np.ndarray:
    """Return the depth channel of an OpenEXR file: Z, or the only one, or one of equal channels."""
    try:
        import OpenEXR
    except ImportError as error:
        raise FrameError(path, "needs the package OpenEXR: pip install '.[exr]'") from error
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except RuntimeError as error:
        raise FrameError(path, f"cannot be read ({error})") from error
    for name, pixels in channels.items():
        if name.split(".")[-1].upper() in ("Z", "DEPTH") or len(channels) == 1:
            return pixels
    first = next(iter(channels.values()))
    if all(np.array_equal(first, pixels, equal_nan=True) for pixels in channels.values()):
        return first
    raise FrameError(path, f"has the channels {', '.join(channels)}; expected Z, or one channel")
