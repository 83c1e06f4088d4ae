"""Turn uint8 images into the network's input, and its disparity into depth of the caller's size.

One code for training, evaluation and serving, in numpy and OpenCV. Images are RGB arrays, and the networks
normalise their input themselves.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8


def check_image(image: object) -> None:
    """Refuse whatever is not a uint8 RGB image with at least one pixel.

    Raises:
        ValueError: what was given, and what was expected.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image must be a numpy array, not {type(image).__name__}")
    if image.dtype != np.uint8:
        raise ValueError(f"an image must be uint8 (0 to 255), not {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must have the shape (height, width, 3), not {image.shape}")
    if image.size == 0:
        raise ValueError(f"an image must have at least one pixel, not the shape {image.shape}")


def resize_image(
    image: UInt8[np.ndarray, "rows columns 3"], height: int, width: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Resize an image: average over areas along an axis that shrinks, interpolate along one that grows.

    An image that already has the size is returned itself, not a copy.
    """
    old_height, old_width = image.shape[:2]
    shrunk = (min(height, old_height), min(width, old_width))
    if shrunk != (old_height, old_width):
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def to_model_batch(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], height: int, width: int
) -> Float32[np.ndarray, "batch 3 height width"]:
    """Resize RGB images of any sizes and stack them, channels first, with values in [0, 1]."""
    batch_b3hw = np.empty((len(images), 3, height, width), np.float32)
    for image, planes_3hw in zip(images, batch_b3hw, strict=True):
        check_image(image)
        planes_3hw[...] = resize_image(image, height, width).transpose(2, 0, 1)
    batch_b3hw /= 255.0
    return batch_b3hw


def disparity_to_depth_map(
    disparity: Float32[np.ndarray, "rows columns"], height: int, width: int, scale: float = 1.0
) -> Float32[np.ndarray, "height width"]:
    """Resize a disparity map bilinearly to the caller's size, then return `scale / disparity`.

    The resize comes first because a plane in space is linear in disparity over the image, not in depth: on
    the road, interpolated depth would bulge.

    Zero or less is infinitely far, and like what is no number it has no depth: NaN.
    """
    lowest, highest = float(disparity.min()), float(disparity.max())
    if not (lowest > 0.0 and highest < np.inf):
        return _depth_with_holes(disparity, height, width, scale)
    if disparity.shape == (height, width):
        return np.float32(scale) / disparity
    resized = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.divide(np.float32(scale), resized, out=resized)


def _depth_with_holes(
    disparity: Float32[np.ndarray, "rows columns"], height: int, width: int, scale: float
) -> Float32[np.ndarray, "height width"]:
    """Interpolate between pixels that have depth alone: no curtain hangs from a roof to the sky behind it."""
    has_depth = (disparity > 0) & (disparity < np.inf)
    known = np.where(has_depth, disparity, np.float32(0))
    if disparity.shape == (height, width):
        resized, kept = known, has_depth
    else:
        # A hole's edge takes the nearest depth beside it, so that it does not count where it is interpolated.
        beside = np.where(has_depth, known, cv2.dilate(known, np.ones((3, 3), np.uint8)))
        resized = cv2.resize(beside, (width, height), interpolation=cv2.INTER_LINEAR)
        share = cv2.resize(has_depth.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        kept = share >= 0.5
    resized[~kept] = np.nan
    return np.divide(np.float32(scale), resized, out=resized)
