"""Textures of plants: leaves with ragged outlines, hedges, rows of trees, bark."""

import cv2
import numpy as np

from training.data.synthetic.noise import Colour, Colours, Plane, blend, filled, fractal, smoothstep, vary

_GREENS: tuple[Colour, ...] = (
    (0.20, 0.27, 0.10),
    (0.16, 0.24, 0.09),
    (0.27, 0.31, 0.12),
    (0.13, 0.20, 0.09),
    (0.33, 0.30, 0.11),
    (0.22, 0.24, 0.13),
)


def green(rng: np.random.Generator) -> Colour:
    """Draw the colour of a plant."""
    colour = _GREENS[int(rng.integers(len(_GREENS)))]
    light = float(rng.uniform(1.1, 1.55))
    return (colour[0] * light, colour[1] * light, colour[2] * light)


def leaves(rng: np.random.Generator, size: int, colour: Colour) -> tuple[Colours, Plane]:
    """Return a clump of leaves, and where it is not open: full in the middle, ragged outside."""
    colours = _foliage(rng, size, size, colour)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * 2 - 1
    angle = np.arctan2(y, x)
    lobes = sum(
        rng.uniform(0.03, 0.12) * np.cos(count * angle + rng.uniform(0, 6.3)) for count in (2, 3, 5, 7)
    )
    radius = np.sqrt(x * x + y * y) + lobes
    ragged = fractal(rng, size, size, cells=(8, 8), falloff=0.9)
    cover = 0.86 - radius + 0.13 * ragged
    return colours, (cover > 0).astype(np.float32)


def hedge(rng: np.random.Generator, size: int, colour: Colour) -> Colours:
    """Return a closed wall of leaves."""
    return _foliage(rng, size, size, colour)


def fringe(rng: np.random.Generator, size: int, colour: Colour) -> tuple[Colours, Plane]:
    """Return the ragged upper edge of a bush, and where it is not open."""
    colours = _foliage(rng, size, size, colour)
    rise = np.linspace(1, 0, size, dtype=np.float32)[:, None]
    wave = fractal(rng, size, size, cells=(2, 8), falloff=0.9)
    return colours, (0.72 - rise + 0.14 * wave > 0).astype(np.float32)


def tree_row(rng: np.random.Generator, height: int, width: int, colour: Colour) -> tuple[Colours, Plane]:
    """Return a row of trees as the edge of a wood shows it, and where it is not open."""
    colours = filled(height, width, (colour[0] * 0.5, colour[1] * 0.5, colour[2] * 0.5))
    cover = np.zeros((height, width), np.float32)
    cover[int(height * 0.55) :] = 1
    light = _foliage(rng, height, width, colour)
    ragged = fractal(rng, height, width, cells=(8, 16), falloff=0.9)
    row, column = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(26):
        x, y = rng.uniform(0, width), height * rng.uniform(0.3, 0.75)
        radius = height * rng.uniform(0.14, 0.27)
        sideways = np.abs(column - x)
        sideways = np.minimum(sideways, width - sideways)
        inside = 1 - np.hypot(sideways, (row - y) * 0.85) / radius + 0.22 * ragged
        crown = (inside > 0).astype(np.float32)
        shade = np.clip(0.62 + 0.75 * (y - row) / radius, 0.35, 1.25) * rng.uniform(0.75, 1.15)
        colours = blend(colours, light * shade[..., None], crown)
        cover = np.maximum(cover, crown)
    floor = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colours *= (1 - 0.55 * smoothstep(0.7, 1.0, floor))[..., None]
    return colours, cover


def bark(rng: np.random.Generator, size: int) -> Colours:
    """Return the bark of a trunk."""
    tone = float(rng.uniform(0.2, 0.36))
    colours = filled(size, size, (tone * 1.1, tone, tone * 0.85))
    colours = vary(colours, fractal(rng, size, size, cells=(2, 16), falloff=0.8), 0.3)
    # A trunk is round: its edges turn away from the light.
    round_ = np.cos(np.linspace(-1.1, 1.1, size, dtype=np.float32))
    return colours * round_[None, :, None]


def _foliage(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Colours:
    clumps = fractal(rng, height, width, cells=(max(height // 32, 2), max(width // 32, 2)), falloff=0.9)
    fine = fractal(rng, height, width, cells=(height // 8, width // 8), falloff=0.95)
    light = np.clip(1 + 0.28 * clumps + 0.34 * fine, 0.25, 2.4)
    colours = filled(height, width, colour) * light[..., None]
    bright: Colour = (min(colour[0] * 2.0, 1.0), min(colour[1] * 1.75, 1.0), colour[2] * 1.5)
    colours = blend(colours, bright, 0.6 * smoothstep(1.2, 2.6, clumps + fine))
    return cv2.GaussianBlur(colours, (0, 0), 0.6)
