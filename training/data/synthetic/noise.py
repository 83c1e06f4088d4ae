"""Noise with structure at every size, without a seam, and the small arithmetic of colours on textures."""

import cv2
import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "height width"]
Colours = Float32[np.ndarray, "height width 3"]
Colour = tuple[float, float, float]


def fractal(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    cells: tuple[int, int] = (4, 4),
    falloff: float = 0.6,
) -> Plane:
    """Return noise of mean 0 and deviation 1 that continues across opposite edges.

    Args:
        rng: Decides it.
        height: In pixels.
        width: In pixels.
        cells: Rows and columns of the coarsest octave; each next octave doubles them.
        falloff: How much weaker each next octave is.
    """
    total = np.zeros((height, width), np.float32)
    rows, columns = cells
    strength = 1.0
    while rows <= height and columns <= width:
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        padded = cv2.copyMakeBorder(grid, 2, 2, 2, 2, cv2.BORDER_WRAP)
        scale_y, scale_x = height / rows, width / columns
        to_grid = np.array([[1 / scale_x, 0, 1.5 + 0.5 / scale_x], [0, 1 / scale_y, 1.5 + 0.5 / scale_y]])
        octave = cv2.warpAffine(
            padded, to_grid, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        total += np.float32(strength) * octave
        strength *= falloff
        rows, columns = rows * 2, columns * 2
    total -= total.mean()
    return total / np.float32(max(float(total.std()), 1e-6))


def muted(rng: np.random.Generator, low: float, high: float) -> Colour:
    """Draw a colour of things that people paint and wear: seldom a bright one."""
    colour = rng.uniform(low, high, 3)
    strong = 0.2 + 0.5 * rng.random() ** 2
    red, green, blue = colour.mean() * (1 - strong) + colour * strong
    return (float(red), float(green), float(blue))


def filled(height: int, width: int, colour: Colour) -> Colours:
    """Return a plane of one colour."""
    plane: Colours = np.empty((height, width, 3), np.float32)
    plane[:] = colour
    return plane


def vary(colours: Colours, noise: Plane, strength: float, towards: Colour = (1.0, 1.0, 1.0)) -> Colours:
    """Lighten and darken by noise; `towards` weighs the channels."""
    return colours * (1 + np.float32(strength) * noise[..., None] * np.asarray(towards, np.float32))


def blend(below: Colours, above: Colours | Colour, cover: Plane) -> Colours:
    """Lay one colour over another where `cover` is 1."""
    cover = np.clip(cover, 0, 1).astype(np.float32)[..., None]
    blended: Colours = below * (1 - cover) + np.asarray(above, np.float32) * cover
    return blended


def smoothstep(
    low: float, high: float, value: Float32[np.ndarray, "*shape"]
) -> Float32[np.ndarray, "*shape"]:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1).astype(np.float32)
    rise: Float32[np.ndarray, "*shape"] = t * t * (3 - 2 * t)
    return rise
