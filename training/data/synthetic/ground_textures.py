"""Textures of the ground: a street's whole cross-section with its markings, bare asphalt, and land."""

import cv2
import numpy as np
from jaxtyping import Float32

from training.data.synthetic.noise import Colour, Colours, Plane, blend, filled, fractal, smoothstep, vary
from training.data.synthetic.profile import KERB_M, Profile

STRIP_LENGTH_M = 51.2
STRIP_WIDTH_M = 25.6
LAND_M = 25.6
ASPHALT_M = 12.8
_STRIP_ROWS, _STRIP_COLUMNS = 1024, 1024
_WHITE: Colour = (0.86, 0.86, 0.83)


def asphalt(rng: np.random.Generator, size: int, tone: float) -> Colours:
    """Return bare asphalt, `ASPHALT_M` wide and long."""
    colours = filled(size, size, (tone * 1.02, tone, tone * 0.98))
    colours = vary(colours, fractal(rng, size, size, cells=(4, 4), falloff=0.75), 0.05)
    return vary(colours, fractal(rng, size, size, cells=(size // 4, size // 4), falloff=0.9), 0.09)


def zebra(rng: np.random.Generator, tone: float) -> Colours:
    """Return one stripe of a zebra and the asphalt beside it, 1 m wide and long."""
    colours = asphalt(rng, 128, tone)
    stripe = np.zeros((128, 128), np.float32)
    stripe[:, 32:96] = 0.9
    return blend(colours, _WHITE, stripe * smoothstep(-2.5, 0.0, fractal(rng, 128, 128, cells=(8, 8))))


def strip(rng: np.random.Generator, profile: Profile, tone: float, grass: Colour) -> Colours:
    """Return a street's cross-section: rows go along it, columns from right to left across it."""
    rows, columns = _STRIP_ROWS, _STRIP_COLUMNS
    across = ((np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5) * np.float32(STRIP_WIDTH_M)
    colours = land(rng, rows, columns, grass, rough=0.3, cells=(16, 8))
    edge = _edge_noise(rng, rows, columns, 0.12 if not profile.kerb else 0.0)
    from_middle = np.abs(across)[None, :] + edge
    if profile.pavement_m > 0:
        inside = (from_middle > profile.pavement_start_m) & (from_middle < profile.half_m)
        colours = blend(colours, _pavement(rng, rows, columns), inside.astype(np.float32))
    if profile.kerb:
        colours = _with_kerb(rng, colours, from_middle, profile)
    on_road = smoothstep(profile.road_half_m + 0.02, profile.road_half_m - 0.02, from_middle)
    colours = blend(colours, _road(rng, rows, columns, across, profile, tone), on_road)
    return _with_markings(rng, colours, across, profile)


def land(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    colour: Colour,
    *,
    rough: float = 0.25,
    cells: tuple[int, int] = (8, 8),
) -> Colours:
    """Return grass, earth or gravel, by its colour."""
    colours = vary(
        filled(rows, columns, colour), fractal(rng, rows, columns, cells=cells, falloff=0.85), rough
    )
    dry = fractal(rng, rows, columns, cells=cells, falloff=0.6)
    dried: Colour = (colour[0] * 1.2, colour[1] * 1.06, colour[2] * 1.0)
    return blend(colours, vary(filled(rows, columns, dried), dry, 0.15), smoothstep(0.3, 1.8, dry))


def paving(rng: np.random.Generator, size: int, tone: float, *, slab_px: int = 32) -> Colours:
    """Return paved ground, `LAND_M` wide and long."""
    colours = filled(size, size, (tone * 1.03, tone, tone * 0.95))
    slabs = rng.standard_normal((size // slab_px, size // slab_px)).astype(np.float32)
    colours = vary(colours, cv2.resize(slabs, (size, size), interpolation=cv2.INTER_NEAREST), 0.05)
    colours = vary(colours, fractal(rng, size, size, cells=(4, 4), falloff=0.8), 0.12)
    colours[::slab_px] *= 0.72
    colours[:, ::slab_px] *= 0.72
    return colours


def _edge_noise(rng: np.random.Generator, rows: int, columns: int, strength: float) -> Plane:
    return strength * fractal(rng, rows, columns, cells=(32, 8))


def _road(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    across: Float32[np.ndarray, " columns"],
    profile: Profile,
    tone: float,
) -> Colours:
    colours = filled(rows, columns, (tone * 1.02, tone, tone * 0.98))
    colours = vary(colours, fractal(rng, rows, columns, cells=(8, 4), falloff=0.75), 0.05)
    fine = fractal(rng, rows, columns, cells=(rows // 4, columns // 4), falloff=0.9)
    colours = vary(colours, fine, 0.085)
    # Tyres polish two tracks a lane, and long streaks follow the traffic.
    in_lane = np.mod(across - profile.own_lane_m + profile.lane_m / 2, profile.lane_m) - profile.lane_m / 2
    tracks = np.exp(-(((np.abs(in_lane) - 0.75) / 0.28) ** 2))
    streaks = fractal(rng, rows, columns, cells=(2, 32), falloff=0.8)
    colours *= (1 + float(rng.uniform(-0.09, 0.06)) * tracks[None, :] + 0.03 * streaks)[..., None]
    canvas = np.zeros((rows, columns), np.float32)
    for _ in range(int(rng.integers(0, 5))):
        _patch(rng, canvas)
    colours *= (1 - canvas)[..., None]
    cracks = np.zeros((rows, columns), np.float32)
    for _ in range(int(rng.integers(2, 14))):
        _crack(rng, cracks)
    road: Colours = colours * (1 - 0.4 * cracks)[..., None]
    return road


def _patch(rng: np.random.Generator, canvas: Plane) -> None:
    rows, columns = canvas.shape
    y, x = int(rng.uniform(0, rows * 0.8)), int(columns * rng.uniform(0.3, 0.65))
    height, width = int(rng.uniform(20, 200)), int(rng.uniform(30, 130))
    cv2.rectangle(canvas, (x, y), (x + width, y + height), float(rng.uniform(-0.15, 0.3)), -1)


def _crack(rng: np.random.Generator, canvas: Plane) -> None:
    rows, columns = canvas.shape
    lengthwise = rng.random() < 0.5
    steps = rng.normal(0, 5, (24, 2)) + np.array((0, 14) if lengthwise else (14, 0))
    line = np.cumsum(steps, axis=0) + np.array(
        (columns * rng.uniform(0.28, 0.6), rows * rng.uniform(0.05, 0.6))
    )
    cv2.polylines(canvas, [line.astype(np.int32)], False, 1.0, int(rng.integers(1, 3)), cv2.LINE_AA)


def _pavement(rng: np.random.Generator, rows: int, columns: int) -> Colours:
    tone = float(rng.uniform(0.42, 0.62))
    warm = float(rng.uniform(0.9, 1.0))
    colours = filled(rows, columns, (tone, tone * (0.5 + 0.5 * warm), tone * warm))
    row_px, column_px = int(rng.choice([8, 16])), int(rng.choice([16, 32]))
    slabs = rng.standard_normal((rows // row_px, columns // column_px)).astype(np.float32)
    colours = vary(colours, cv2.resize(slabs, (columns, rows), interpolation=cv2.INTER_NEAREST), 0.06)
    colours = vary(colours, fractal(rng, rows, columns, cells=(16, 16), falloff=0.8), 0.10)
    colours[::row_px] *= 0.78
    colours[:, ::column_px] *= 0.78
    return colours


def _with_kerb(rng: np.random.Generator, colours: Colours, from_middle: Plane, profile: Profile) -> Colours:
    rows, columns = colours.shape[:2]
    kerb = (from_middle > profile.road_half_m) & (from_middle < profile.road_half_m + KERB_M)
    tone = float(rng.uniform(0.5, 0.72))
    stones = vary(
        filled(rows, columns, (tone, tone, tone * 0.97)), fractal(rng, rows, columns, cells=(32, 8)), 0.1
    )
    stones[::20] *= 0.6
    gutter = np.exp(-(((from_middle - profile.road_half_m + 0.05) / 0.09) ** 2))
    colours = blend(colours, stones, kerb.astype(np.float32))
    return colours * (1 - 0.45 * gutter)[..., None]


def _with_markings(
    rng: np.random.Generator, colours: Colours, across: Float32[np.ndarray, " columns"], profile: Profile
) -> Colours:
    rows, columns = colours.shape[:2]
    along = (np.arange(rows, dtype=np.float32) + 0.5) / rows * np.float32(STRIP_LENGTH_M)
    paint = np.zeros((rows, columns), np.float32)
    period = float(rng.choice([STRIP_LENGTH_M / 4, STRIP_LENGTH_M / 6, STRIP_LENGTH_M / 8]))
    dashed = (np.mod(along, period) < period * float(rng.choice([0.33, 0.5]))).astype(np.float32)[:, None]
    whole = np.ones((rows, 1), np.float32)
    if profile.markings:
        middle = whole if profile.lanes > 2 or rng.random() < 0.2 else dashed
        paint = np.maximum(paint, _line(across, 0.0, 0.12) * middle)
        for lane in range(1, profile.lanes // 2):
            for side in (-1, 1):
                paint = np.maximum(paint, _line(across, side * lane * profile.lane_m, 0.12) * dashed)
    if profile.edge_lines:
        edge = profile.lanes * profile.lane_m / 2
        for side in (-1, 1):
            paint = np.maximum(paint, _line(across, side * edge, 0.14) * whole)
    if profile.shoulder_m > 1 and rng.random() < 0.5:
        edge = profile.lanes * profile.lane_m / 2
        boxes = (np.mod(along, STRIP_LENGTH_M / 9) < 0.15).astype(np.float32)[:, None]
        within = (np.abs(across) > edge) & (np.abs(across) < profile.road_half_m - 0.2)
        paint = np.maximum(paint, within[None, :] * boxes)
    worn = smoothstep(-2.2, 0.2, fractal(rng, rows, columns, cells=(16, 16), falloff=0.9))
    return blend(colours, _WHITE, paint * worn * np.float32(rng.uniform(0.7, 1.0)))


def _line(across: Float32[np.ndarray, " columns"], middle_m: float, width_m: float) -> Plane:
    """Return a line's cover, softened over a texel."""
    texel = STRIP_WIDTH_M / len(across)
    cover = (width_m / 2 - np.abs(across - middle_m)) / texel + 0.5
    return np.clip(cover, 0, 1).astype(np.float32)[None, :]
