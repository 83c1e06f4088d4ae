"""Read an image at a long list of places; OpenCV reads only at places that form an image themselves."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_COLUMNS = 4096
"""OpenCV refuses 32767 rows or columns; a list of 4096 x 32766 places is longer than any image."""


def read_at(
    image: UInt8[np.ndarray, "rows columns *channels"],
    x: Float32[np.ndarray, " places"],
    y: Float32[np.ndarray, " places"],
    *,
    border: int = cv2.BORDER_CONSTANT,
    outside: int = 0,
) -> UInt8[np.ndarray, "..."]:
    """Return the values between four neighbours, where the first one's centre is at 0."""
    if not len(x):
        return np.zeros((0, *image.shape[2:]), np.uint8)
    padding = -len(x) % _COLUMNS
    grid_x, grid_y = (np.pad(place, (0, padding)).reshape(-1, _COLUMNS) for place in (x, y))
    found = cv2.remap(image, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=border, borderValue=outside)
    flat: UInt8[np.ndarray, ...] = found.reshape(-1, *image.shape[2:])[: len(x)]
    return flat
