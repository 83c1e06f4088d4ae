"""Textures of cars and lorries: sides with wheels and doors, fronts and backs with lights, glass."""

import cv2
import numpy as np

from training.data.synthetic.noise import Colour, Colours, Plane, filled, fractal, smoothstep, vary

PAINTS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06),
    (0.08, 0.08, 0.09),
    (0.62, 0.63, 0.65),
    (0.50, 0.51, 0.53),
    (0.80, 0.80, 0.80),
    (0.26, 0.27, 0.29),
    (0.10, 0.14, 0.32),
    (0.45, 0.06, 0.06),
    (0.16, 0.25, 0.42),
    (0.10, 0.24, 0.16),
    (0.55, 0.48, 0.30),
)
_TYRE = 0.055


def side(rng: np.random.Generator, paint: Colour, height: int, width: int) -> tuple[Colours, Plane]:
    """Return a car's lower side, front to the left, and where it is not open: wheels, doors, sills."""
    colours = _painted(rng, paint, height, width)
    row = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colours *= (1.12 - 0.35 * row - 0.35 * smoothstep(0.68, 0.8, row))[..., None]
    colours[int(height * 0.34) : int(height * 0.36)] *= 1.3
    for share in (0.31, 0.52, 0.73):
        colours[: int(height * 0.75), int(width * share) : int(width * share) + 2] *= 0.45
    for share in (0.46, 0.67):
        colours[int(height * 0.16) : int(height * 0.2), int(width * share) : int(width * (share + 0.04))] *= (
            0.4
        )
    colours[int(height * 0.18) : int(height * 0.34), : int(width * 0.05)] = (0.8, 0.78, 0.72)
    colours[int(height * 0.14) : int(height * 0.34), int(width * 0.96) :] = (0.42, 0.05, 0.05)
    cover = np.zeros((height, width), np.float32)
    sill = int(height * 0.80)
    cover[:sill] = 1
    # The bonnet falls towards the nose: the side must not stand above it.
    column = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    cover[row < 0.22 - 1.4 * column] = 0
    for share in (0.19, 0.81):
        _wheel(colours, cover, share)
    return colours, cover


def _wheel(colours: Colours, cover: Plane, share: float) -> None:
    height, width = cover.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    # The texture spans 4.2 m by 0.95 m, so its texels are not square.
    distance = np.hypot((x / width - share) * 4.2, (y / height - 0.665) * 0.95)
    colours[distance < 0.38] = 0.03
    tyre = distance < 0.318
    colours[tyre], cover[tyre] = _TYRE, 1
    rim = distance < 0.21
    angle = np.arctan2((y / height - 0.665) * 0.95, (x / width - share) * 4.2)
    spokes = 0.30 + 0.26 * (np.cos(5 * angle) > -0.1)
    colours[rim] = spokes[rim][:, None]
    colours[distance < 0.05] = 0.2
    below = (distance >= 0.318) & (y > height * 0.8)
    cover[below] = 0


def cabin(rng: np.random.Generator, paint: Colour, height: int, width: int) -> Colours:
    """Return a row of side windows between pillars in the colour of the car."""
    colours = _glass(rng, height, width)
    for share, thick in ((0.0, 0.05), (0.46, 0.035), (0.80, 0.05), (0.97, 0.03)):
        colours[:, int(width * share) : int(width * (share + thick))] = np.asarray(
            paint, np.float32
        ) * np.float32(0.9)
    colours[: int(height * 0.12)] = np.asarray(paint, np.float32)
    return colours


def _glass(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Return a car's window: dark inside, with the sky mirrored above and seats within."""
    row = np.linspace(0, 1, height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    mirror = float(rng.uniform(0.1, 0.45)) * np.clip(0.9 - row, 0, 1)
    colours = filled(height, width, (0.05, 0.055, 0.06))
    colours += mirror[..., None] * np.array((0.7, 0.8, 0.95), np.float32)
    streak = smoothstep(0.4, 1.5, fractal(rng, height, width, cells=(2, 4), falloff=0.5))
    colours += 0.12 * streak[..., None]
    return colours


def screen(rng: np.random.Generator, paint: Colour, height: int, width: int) -> Colours:
    """Return a front or rear window with its frame."""
    colours = _glass(rng, height, width)
    for x in (int(width * 0.28), int(width * 0.72)):
        cv2.circle(colours, (x, int(height * 0.8)), height // 6, (0.03, 0.03, 0.035), -1)
    edge = max(width // 22, 2)
    colours[:, :edge] = colours[:, -edge:] = np.asarray(paint, np.float32) * np.float32(0.9)
    colours[: max(height // 14, 1)] = np.asarray(paint, np.float32)
    return colours


def bonnet(rng: np.random.Generator, paint: Colour, height: int, width: int) -> Colours:
    """Return a car's bonnet, boot lid or roof, which mirror the sky a little."""
    colours = _painted(rng, paint, height, width) * 1.05
    mirror = smoothstep(-0.5, 1.8, fractal(rng, height, width, cells=(2, 2), falloff=0.5))
    colours += 0.14 * mirror[..., None] * np.array((0.8, 0.9, 1.0), np.float32)
    colours[:, :3] *= 0.6
    colours[:, -3:] *= 0.6
    return colours


def end(rng: np.random.Generator, paint: Colour, height: int, width: int, *, front: bool) -> Colours:
    """Return a car's nose or tail: lights, plate, bumper, grille."""
    colours = _painted(rng, paint, height, width)
    row = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colours *= (1.1 - 0.3 * row - 0.75 * smoothstep(0.78, 0.9, row))[..., None]

    def area(top: float, bottom: float, left: float, right: float) -> tuple[slice, slice]:
        return slice(int(height * top), int(height * bottom)), slice(int(width * left), int(width * right))

    if front:
        colours[area(0.18, 0.38, 0.3, 0.7)] = 0.05
        colours[area(0.24, 0.27, 0.3, 0.7)] = 0.45
        colours[area(0.58, 0.76, 0.15, 0.85)] = 0.07
        lamp: Colour = (0.86, 0.86, 0.84)
    else:
        colours[area(0.50, 0.52, 0.0, 1.0)] *= 0.5
        lamp = (0.55, 0.05, 0.05)
    for left in (0.02, 0.79):
        colours[area(0.1, 0.4, left, left + 0.19)] = np.asarray(lamp, np.float32)
        colours[area(0.16, 0.26, left + 0.04, left + 0.12)] = np.minimum(
            np.asarray(lamp, np.float32) * 1.4 + 0.1, 1
        )
    top = 0.5 if front else float(rng.choice([0.28, 0.58]))
    colours[area(top, top + 0.12, 0.36, 0.64)] = 0.88
    for x in np.linspace(0.39, 0.6, 7):
        colours[area(top + 0.03, top + 0.09, float(x), float(x) + 0.015)] = 0.1
    return colours


def _painted(rng: np.random.Generator, paint: Colour, height: int, width: int) -> Colours:
    return vary(filled(height, width, paint), fractal(rng, height, width, cells=(2, 2), falloff=0.6), 0.06)


def lorry_side(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Return a lorry's box: a colour, a stripe, lettering, dirt."""
    colour = rng.choice(
        np.array([(0.85, 0.85, 0.85), (0.8, 0.76, 0.6), (0.2, 0.3, 0.55), (0.65, 0.15, 0.12)])
    )
    colours = vary(
        filled(height, width, (float(colour[0]), float(colour[1]), float(colour[2]))),
        fractal(rng, height, width, cells=(2, 2), falloff=0.8),
        0.06,
    )
    stripe = rng.uniform(0.05, 0.9, 3).astype(np.float32)
    y = int(height * rng.uniform(0.3, 0.6))
    colours[y : y + height // 5] = stripe
    letter = 0.95 if stripe.mean() < 0.5 else 0.1
    step = max(width // 24, 3)
    for x in range(width // 6, width * 5 // 6, step):
        if rng.random() < 0.8:
            colours[y + height // 20 : y + height // 6, x : x + int(step * rng.uniform(0.4, 0.8))] = letter
    row = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colours[:, :: max(width // 8, 2)] *= 0.85
    return colours * (1 - 0.4 * smoothstep(0.8, 1.0, row))[..., None]


def lorry_back(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Return a lorry's doors and lights."""
    colours = vary(
        filled(height, width, (0.7, 0.7, 0.7)), fractal(rng, height, width, cells=(2, 2), falloff=0.8), 0.1
    )
    colours[:, width // 2 - 1 : width // 2 + 1] *= 0.4
    for share in (0.25, 0.42, 0.58, 0.75):
        colours[: int(height * 0.85), int(width * share) : int(width * share) + 2] *= 0.7
    colours[int(height * 0.86) :] = 0.12
    colours[int(height * 0.88) : int(height * 0.95), : width // 6] = (0.6, 0.05, 0.05)
    colours[int(height * 0.88) : int(height * 0.95), -width // 6 :] = (0.6, 0.05, 0.05)
    return colours


def lorry_front(rng: np.random.Generator, paint: Colour, height: int, width: int) -> Colours:
    """Return a lorry's cab from the front."""
    colours = _painted(rng, paint, height, width)
    top, bottom = int(height * 0.15), int(height * 0.5)
    colours[top:bottom, width // 16 : width - width // 16] = _glass(
        rng, bottom - top, width - 2 * (width // 16)
    )
    colours[int(height * 0.56) : int(height * 0.78), width // 5 : width - width // 5] = 0.08
    colours[int(height * 0.84) : int(height * 0.93), : width // 5] = (0.85, 0.85, 0.8)
    colours[int(height * 0.84) : int(height * 0.93), -width // 5 :] = (0.85, 0.85, 0.8)
    return colours


def lorry_wheels(height: int, width: int) -> tuple[Colours, Plane]:
    """Return the space below a lorry: wheels, and gaps between them."""
    colours = filled(height, width, (0.04, 0.04, 0.045))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cover = np.zeros((height, width), np.float32)
    cover[: height // 3] = 1
    for share in (0.12, 0.68, 0.84):
        # 8 m by 1 m.
        distance = np.hypot((x / width - share) * 8.0, (y / height - 0.5) * 1.0)
        cover[distance < 0.5] = 1
        colours[distance < 0.5] = _TYRE
        colours[distance < 0.27] = 0.33
    return colours, cover
