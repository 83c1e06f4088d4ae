"""The sky's colour in every direction: a gradient, a glow around the sun, and clouds on a far ceiling."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from training.data.synthetic.light import Light
from training.data.synthetic.lookup import read_at
from training.data.synthetic.noise import Plane, fractal, smoothstep

_CLOUDS_PX = 512


@dataclass(frozen=True)
class Sky:
    """A sky that goes with a weather."""

    light: Light
    cover: UInt8[np.ndarray, "rows columns"]
    """How thick the clouds are over a square of the ceiling, which repeats."""

    def colours(self, directions: Float32[np.ndarray, "places 3"]) -> Float32[np.ndarray, "places 3"]:
        """Return the colours in directions of the world, which need not have length 1."""
        light = self.light
        length = np.sqrt(np.einsum("pc,pc->p", directions, directions))
        unit = directions / length[:, None]
        rise = np.maximum(unit[:, 2], 0)
        colours: Float32[np.ndarray, "places 3"] = np.sqrt(rise)[:, None] * (light.zenith - light.horizon)
        colours += light.horizon
        towards = np.maximum(unit @ light.to_sun.astype(np.float32), 0)
        for _ in range(4):
            towards *= towards
        colours += towards[:, None] * np.array((0.35, 0.33, 0.3), np.float32) * np.float32(1 - light.clouds)
        cover = self._clouds(unit, rise)[:, None]
        colours *= 1 - cover
        gloom = np.float32(light.clouds)
        colours += (np.float32(0.98) - np.float32(0.25) * gloom - np.float32(0.18) * gloom * cover) * cover
        return colours

    def _clouds(
        self, unit: Float32[np.ndarray, "places 3"], rise: Float32[np.ndarray, " places"]
    ) -> Float32[np.ndarray, " places"]:
        """Return how much the clouds cover."""
        # The ceiling bends down far away; without the constant, clouds would shrink to stripes there.
        scale = np.float32(_CLOUDS_PX * 0.22) / (unit[:, 2] + np.float32(0.12))
        # OpenCV wraps places itself, but only those that fit its numbers.
        x, y = (np.clip(unit[:, axis] * scale, -16000, 16000) for axis in (0, 1))
        thick = read_at(self.cover, x, y, border=cv2.BORDER_WRAP)
        cover: Float32[np.ndarray, " places"] = thick * smoothstep(0.0, 0.15, rise) * np.float32(1 / 255)
        return cover


def build_sky(rng: np.random.Generator, light: Light) -> Sky:
    """Draw the clouds of a weather."""
    noise: Plane = fractal(rng, _CLOUDS_PX, _CLOUDS_PX, cells=(4, 4), falloff=0.6)
    threshold = 2.2 - 3.2 * light.clouds
    cover = smoothstep(threshold, threshold + 1.6, noise) * (0.5 + 0.5 * light.clouds)
    return Sky(light, (np.clip(cover, 0, 1) * 255).astype(np.uint8))
