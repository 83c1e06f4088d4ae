"""Sun, sky light and haze of a world, and the light that falls on a face."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from training.data.synthetic.faces import Faces

Rgb = Float32[np.ndarray, "3"]


@dataclass(frozen=True, kw_only=True)
class Light:
    """The weather, as far as it is light."""

    to_sun: Float64[np.ndarray, "3"]
    """Unit vector in the world."""
    sun: Rgb
    """What a face turned to the sun gets from it."""
    ambient: Rgb
    """What every face gets from the sky."""
    haze_per_m: float
    haze: Rgb
    zenith: Rgb
    horizon: Rgb
    clouds: float
    """0: clear; 1: overcast."""
    contrast: float
    """Above 1: light is lighter and dark is darker."""
    noise: float
    """Deviation of the sensor's noise, of 1."""
    blur_px: float


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a weather: mostly sunny, sometimes overcast or hazy."""
    clouds = float(np.clip(rng.beta(0.7, 1.0), 0, 1))
    overcast = clouds > 0.75
    elevation, azimuth = rng.uniform(0.35, 1.15), rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    to_sun = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    strength = rng.uniform(0.02, 0.25) if overcast else rng.uniform(0.75, 1.25)
    warm = rng.uniform(0.0, 0.15)
    ambient_light = rng.uniform(0.55, 0.8) if overcast else rng.uniform(0.28, 0.5)
    blue = 0.0 if overcast else rng.uniform(0.0, 0.2)
    horizon = np.array([0.92, 0.95, 0.98]) * rng.uniform(0.85, 1.1)
    clear = np.array([rng.uniform(0.25, 0.55), rng.uniform(0.5, 0.75), rng.uniform(0.85, 1.0)])
    zenith = clear * (1 - 0.8 * clouds) + np.full(3, rng.uniform(0.7, 0.95)) * 0.8 * clouds
    hazy = rng.random() < 0.15
    haze_per_m = float(rng.uniform(0.004, 0.02) if hazy else rng.uniform(0.0004, 0.003))
    rng.random()  # of no use any more; without it every street's sensor would be another
    return Light(
        to_sun=to_sun,
        sun=_rgb(strength * np.array([1 + warm, 1.0, 1 - warm])),
        ambient=_rgb(ambient_light * np.array([1 - blue, 1.0, 1 + blue])),
        haze_per_m=haze_per_m,
        haze=_rgb(horizon * 0.93),
        zenith=_rgb(zenith),
        horizon=_rgb(horizon),
        clouds=clouds,
        contrast=float(rng.uniform(0.95, 1.3)),
        noise=float(rng.uniform(0.004, 0.014)),
        blur_px=float(rng.choice([0.0, 0.0, 0.35, 0.5])),
    )


def in_forest(light: Light) -> Light:
    """Return the light as a camera sees it that is set for the shade below trees: the sky burns out."""
    white = np.full(3, 1.15, np.float32)
    return replace(
        light, ambient=0.8 * light.ambient, contrast=light.contrast + 0.15, zenith=white, horizon=white
    )


def _rgb(values: Float64[np.ndarray, " channels"]) -> Rgb:
    rgb: Rgb = values.astype(np.float32)
    return rgb


def shade(faces: Faces, light: Light) -> Float32[np.ndarray, "faces 3"]:
    """Return what each face's texture is multiplied by."""
    normals = faces.normals()
    towards = normals @ light.to_sun
    facing = np.maximum(towards, 0) * (1 - faces.soft) + faces.soft * np.clip(0.5 + 0.5 * towards, 0, 1)
    from_sky = 0.72 + 0.28 * normals[:, 2]
    lit = from_sky[:, None] * light.ambient + (facing * faces.sunlit)[:, None] * light.sun
    shades: Float32[np.ndarray, "faces 3"] = (lit * faces.tint).astype(np.float32)
    return shades
