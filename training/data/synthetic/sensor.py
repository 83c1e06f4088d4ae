"""Turn light at samples into an image: the lens gathers, the sensor saturates and adds noise."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from training.data.synthetic.light import Light

_TENT = np.array([0.25, 0.5, 0.25], np.float32)
"""Over the samples around a pixel's centre: reaches to the neighbours' centres, so edges are smooth."""


def expose(
    rng: np.random.Generator,
    colours: Float32[np.ndarray, "rows columns 3"],
    light: Light,
    noise: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image of two samples a pixel and one more."""
    gathered = cv2.sepFilter2D(colours, -1, _TENT, _TENT)[1::2, 1::2]
    if light.blur_px > 0:
        gathered = cv2.GaussianBlur(gathered, (0, 0), light.blur_px)
    # Contrast about a mid grey; lighter than white is cut off, as the sky is in most photographs.
    bright = np.float32(0.38) * np.power(
        np.maximum(gathered, 1e-4) / np.float32(0.38), np.float32(light.contrast)
    )
    if noise > 0:
        bright += rng.standard_normal(bright.shape, np.float32) * np.float32(light.noise * noise)
    image: UInt8[np.ndarray, "height width 3"] = np.clip(bright * 255 + 0.5, 0, 255).astype(np.uint8)
    return image
