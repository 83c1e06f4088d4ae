"""Textures of what is built: facades with windows, roofs, walls, fences."""

from dataclasses import dataclass

import cv2
import numpy as np

from training.data.synthetic.noise import (
    Colour,
    Colours,
    Plane,
    blend,
    filled,
    fractal,
    muted,
    smoothstep,
    vary,
)

FACADE_M = (12.8, 12.8)
"""Width and height that a facade covers."""
_PLASTER: tuple[Colour, ...] = (
    (0.82, 0.78, 0.68),
    (0.86, 0.84, 0.80),
    (0.74, 0.66, 0.52),
    (0.72, 0.70, 0.68),
    (0.80, 0.70, 0.58),
    (0.60, 0.36, 0.28),
    (0.50, 0.30, 0.24),
    (0.64, 0.58, 0.50),
    (0.84, 0.80, 0.58),
    (0.52, 0.54, 0.57),
)


@dataclass(frozen=True, kw_only=True)
class Pane:
    """The shape of a facade's windows, as shares of a bay and a floor."""

    width: float
    height: float
    sill: float
    frame_px: int
    crossed: bool
    shutters: bool


def facade(rng: np.random.Generator, size: int) -> Colours:
    """Return a front of four floors, the lowest with doors or shop windows."""
    colour = _PLASTER[int(rng.integers(len(_PLASTER)))]
    brick = colour[0] < 0.62 and colour[0] > colour[1] * 1.4
    colours = filled(size, size, colour)
    if brick or rng.random() < 0.15:
        colours = _courses(rng, colours, 6, 12)
    colours = vary(colours, fractal(rng, size, size, cells=(2, 4), falloff=0.8), 0.055)
    streaks = smoothstep(0.2, 2.5, fractal(rng, size, size, cells=(2, 32), falloff=0.7))
    colours *= (1 - 0.25 * streaks)[..., None]
    bays = int(rng.choice([3, 4, 4, 5]))
    office = bool(rng.random() < 0.25)
    pane = Pane(
        width=0.86 if office else rng.uniform(0.34, 0.55),
        height=0.55 if office else rng.uniform(0.45, 0.62),
        sill=rng.uniform(0.22, 0.32),
        frame_px=int(rng.integers(2, 5)),
        crossed=bool(rng.random() < 0.7),
        shutters=bool(not office and rng.random() < 0.3),
    )
    shops = bool(rng.random() < 0.35)
    floor_px, bay_px = size // 4, size / bays
    for floor in range(4):
        if rng.random() < 0.5:
            colours[floor * floor_px : floor * floor_px + 3] *= 0.82
        for bay in range(bays):
            left, top = bay * bay_px, floor * floor_px
            if floor == 3 and shops:
                _shop(rng, colours, left, top, bay_px, floor_px)
            elif floor == 3 and bay == bays // 2:
                _door(rng, colours, left, top, bay_px, floor_px)
            else:
                _window(rng, colours, left, top, bay_px, floor_px, pane)
    fade = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    return colours * (1 - 0.22 * smoothstep(0.93, 1.0, fade) - 0.1 * smoothstep(0.04, 0.0, fade))[..., None]


def _courses(rng: np.random.Generator, colours: Colours, row_px: int, stone_px: int) -> Colours:
    """Lay rows of bricks, every second one shifted by half a brick."""
    height, width = colours.shape[:2]
    row = np.arange(height) // row_px
    column = (np.arange(width)[None, :] + (row[:, None] % 2) * stone_px // 2) // stone_px
    tone = rng.standard_normal((height // row_px + 1, width // stone_px + 2)).astype(np.float32)
    colours = vary(colours, tone[row[:, None], column], 0.1)
    joint = (np.arange(height) % row_px == 0)[:, None] | (
        (np.arange(width)[None, :] + (row[:, None] % 2) * stone_px // 2) % stone_px == 0
    )
    return blend(colours, (0.62, 0.6, 0.57), 0.5 * joint.astype(np.float32))


def _glass(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Return what a window shows: a dark room, a reflection of the sky, perhaps curtains."""
    dark = rng.uniform(0.08, 0.22)
    sky = rng.uniform(0.1, 0.55)
    rise = np.linspace(1, 0, height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    slant = np.clip(rise + np.linspace(-0.4, 0.4, width, dtype=np.float32)[None, :], 0, 1)
    pane = blend(filled(height, width, (dark, dark * 1.05, dark * 1.1)), (0.62, 0.7, 0.8), sky * slant)
    if rng.random() < 0.4:
        curtain = float(rng.uniform(0.5, 0.8))
        edge = int(width * rng.uniform(0.15, 0.4))
        cover = np.zeros((height, width), np.float32)
        cover[:, :edge] = cover[:, width - edge :] = 0.75
        pane = blend(pane, (curtain, curtain * 0.97, curtain * 0.9), cover)
    if rng.random() < 0.2:
        down = int(height * rng.uniform(0.2, 0.9))
        pane[:down] = rng.uniform(0.55, 0.8)
        pane[:down:4] *= 0.85
    return pane


def _window(
    rng: np.random.Generator,
    colours: Colours,
    left: float,
    top: float,
    bay_px: float,
    floor_px: int,
    pane: Pane,
) -> None:
    width, height = int(bay_px * pane.width), int(floor_px * pane.height)
    x, y = int(left + (bay_px - width) / 2), int(top + floor_px * (1 - pane.sill) - height)
    y = max(y, 0)
    frame = float(rng.uniform(0.75, 0.95)) if rng.random() < 0.9 else 0.25
    edge = pane.frame_px
    colours[y - 2 if y > 1 else 0 : y + height + 4, x - edge : x + width + edge] = frame
    colours[y + height + 2 : y + height + 6, max(x - edge - 3, 0) : x + width + edge + 3] *= 0.72
    colours[y : y + height, x : x + width] = _glass(rng, height, width)
    colours[y : y + 4, x : x + width] *= 0.5
    if pane.crossed:
        colours[y : y + height, x + width // 2 - 1 : x + width // 2 + 2] = frame
        colours[y + height // 3 : y + height // 3 + 2, x : x + width] = frame
    if pane.shutters:
        shutter = (0.25, 0.36, 0.3) if rng.random() < 0.9 else (0.4, 0.25, 0.18)
        half = width // 2
        for start in (x - edge - half, x + width + edge):
            colours[y : y + height, max(start, 0) : start + half] = shutter
            colours[y : y + height : 5, max(start, 0) : start + half] *= 0.75


def _door(
    rng: np.random.Generator, colours: Colours, left: float, top: float, bay_px: float, floor_px: int
) -> None:
    width, height = int(min(bay_px * 0.5, 50)), int(floor_px * 0.72)
    x, y = int(left + (bay_px - width) / 2), top + floor_px - height
    y = int(y)
    wood = np.array(muted(rng, 0.12, 0.5))
    colours[y - 4 : y + height, x - 4 : x + width + 4] *= 0.75
    colours[y : y + height, x : x + width] = wood.astype(np.float32)
    colours[y + 6 : y + height // 3, x + 5 : x + width - 5] = _glass(rng, height // 3 - 6, width - 10)


def _shop(
    rng: np.random.Generator, colours: Colours, left: float, top: float, bay_px: float, floor_px: int
) -> None:
    y, x, right = int(top), int(left), int(left + bay_px)
    sign = np.array(muted(rng, 0.1, 0.9), np.float32)
    colours[y + 10 : y + 34, x + 2 : right - 2] = sign
    lettering = 0.9 if sign.mean() < 0.5 else 0.15
    for start in range(x + 12, right - 16, 9):
        if rng.random() < 0.75:
            colours[y + 16 : y + 28, start : start + int(rng.integers(3, 7))] = lettering
    height, width = floor_px - 48, right - x - 8
    colours[y + 40 : y + 40 + height, x + 4 : right - 4] = _glass(rng, height, width)
    goods = rng.uniform(0.1, 0.9, (4, 6, 3)).astype(np.float32)
    shown = cv2.resize(goods, (width, height // 2), interpolation=cv2.INTER_NEAREST)
    colours[y + 40 + height - height // 2 : y + 40 + height, x + 4 : right - 4] *= 0.6 + 0.5 * shown
    colours[y + 36 : y + 40, x:right] = 0.25


def plain(rng: np.random.Generator, size: int) -> Colours:
    """Return a plastered wall in light grey, to be tinted."""
    colours = vary(
        filled(size, size, (0.85, 0.85, 0.85)), fractal(rng, size, size, cells=(2, 2), falloff=0.85), 0.09
    )
    stain = smoothstep(0.0, 2.5, fractal(rng, size, size, cells=(2, 16), falloff=0.75))
    return colours * (1 - 0.3 * stain)[..., None]


def masonry(rng: np.random.Generator, size: int) -> Colours:
    """Return a garden wall of stone or brick."""
    colour: Colour = ((0.55, 0.5, 0.44), (0.55, 0.33, 0.26), (0.62, 0.6, 0.57))[int(rng.integers(3))]
    row = int(rng.choice([8, 12, 20]))
    colours = _courses(rng, filled(size, size, colour), row, 2 * row)
    return vary(colours, fractal(rng, size, size, cells=(4, 4), falloff=0.9), 0.12)


def roof(rng: np.random.Generator, size: int) -> Colours:
    """Return a roof of tiles."""
    colour: Colour = ((0.52, 0.27, 0.2), (0.42, 0.24, 0.18), (0.3, 0.3, 0.32), (0.36, 0.29, 0.25))[
        int(rng.integers(4))
    ]
    colours = _courses(rng, filled(size, size, colour), 10, 10)
    return vary(colours, fractal(rng, size, size, cells=(2, 2), falloff=0.85), 0.12)


def fence(rng: np.random.Generator, size: int) -> tuple[Colours, Plane]:
    """Return a fence of boards or bars, and where it is not open."""
    wood = rng.random() < 0.5
    colour: Colour = (0.45, 0.35, 0.25) if wood else (0.3, 0.33, 0.32)
    colours = vary(filled(size, size, colour), fractal(rng, size, size, cells=(2, 16), falloff=0.8), 0.18)
    cover = np.zeros((size, size), np.float32)
    step, board = (32, 25) if wood else (16, 5)
    for x in range(0, size, step):
        cover[size // 16 :, x : x + board] = 1
    for y in (size // 8, size - size // 5):
        cover[y : y + size // 16] = 1
    return colours, cover


def cladding(rng: np.random.Generator, size: int) -> Colours:
    """Return a hall's metal wall, to be tinted."""
    colours = vary(filled(size, size, (0.8, 0.8, 0.82)), fractal(rng, size, size, cells=(2, 2)), 0.05)
    wave = 0.06 * np.sin(np.arange(size, dtype=np.float32) * (2 * np.pi * 32 / size))
    colours *= (1 + (wave[None, :] if rng.random() < 0.5 else wave[:, None]))[..., None]
    if rng.random() < 0.6:
        y = int(size * rng.uniform(0.1, 0.4))
        height = size // 10
        colours[y : y + height] = cv2.resize(_glass(rng, height, size // 8), (size, height))
        colours[y : y + height, :: size // 8] = 0.7
    return colours
