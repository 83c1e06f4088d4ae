"""The resampling kernels of depth networks' pipelines, each as the library has it that their authors call."""

import cv2
import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from model.described.description import Kernel

_OPENCV = {
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic-opencv": cv2.INTER_CUBIC,
    "cubic": cv2.INTER_CUBIC,
}
_PIL = {
    "linear": Image.Resampling.BILINEAR,
    "cubic-pil": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resample(
    pixels: Shaped[np.ndarray, "rows columns 3"],
    height: int,
    width: int,
    kernel: Kernel,
    *,
    antialias: bool = False,
) -> Shaped[np.ndarray, "height width 3"]:
    """Resize pixels of 0 to 255.

    PIL's kernels keep whole numbers; the others return float32, cubic even beyond the range.

    Args:
        pixels: uint8, or float32 where they were resampled before.
        height: Of the result, in pixels.
        width: Likewise.
        kernel: How.
        antialias: For `linear`: whether it averages over what it shrinks.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if kernel in ("cubic-pil", "lanczos") or (kernel == "linear" and antialias):
        whole = Image.fromarray(np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8)))
        return np.asarray(whole.resize((width, height), _PIL[kernel]))
    floats = np.ascontiguousarray(pixels, np.float32)
    if kernel == "linear-aligned":
        return aligned(floats, height, width)
    resized: np.ndarray = cv2.resize(floats, (width, height), interpolation=_OPENCV[kernel])
    return resized


def aligned(
    values: Float32[np.ndarray, "rows columns *channels"], height: int, width: int
) -> Float32[np.ndarray, "height width *channels"]:
    """Resize bilinearly, corners on corners (align_corners)."""
    for axis, size in ((0, height), (1, width)):
        old = values.shape[axis]
        place = np.linspace(0.0, old - 1.0, size) if size > 1 else np.zeros(1)
        first = np.minimum(place.astype(np.intp), max(old - 2, 0))
        shape = [1] * values.ndim
        shape[axis] = size
        share = (place - first).astype(np.float32).reshape(shape)
        low = values.take(first, axis)
        values = low + share * (values.take(np.minimum(first + 1, old - 1), axis) - low)
    return values


def resize_map(
    values: Float32[np.ndarray, "rows columns"], height: int, width: int, how: str, *, align_corners: bool
) -> Float32[np.ndarray, "height width"]:
    """Resize a network's output: `linear`, `cubic` (a = -0.75) or `nearest`, without antialiasing."""
    if values.shape == (height, width):
        return values
    if align_corners:
        return aligned(values, height, width)
    resized: np.ndarray = cv2.resize(values, (width, height), interpolation=_OPENCV[how])
    return resized
