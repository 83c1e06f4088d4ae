"""Houses, blocks, halls, garden walls, fences and hedges, each at its own origin.

A house's front lies along x, from 0 to its width, and faces -y; it reaches back along y.
"""

import numpy as np

from training.data.synthetic.faces import FacesBuilder, Span, Surface
from training.data.synthetic.frame import Kind
from training.data.synthetic.library import Library
from training.data.synthetic.wall_textures import FACADE_M

Tint = tuple[float, float, float]
_FLOORS = 4
_FLOOR_M = FACADE_M[1] / _FLOORS


def _tint(rng: np.random.Generator, low: float, high: float, colourful: float = 0.05) -> Tint:
    light = rng.uniform(low, high)
    red, green, blue = light * (1 + colourful * rng.standard_normal(3))
    return (float(red), float(green), float(blue))


def block(
    rng: np.random.Generator, library: Library, width_m: float, depth_m: float, floors: int
) -> FacesBuilder:
    """Return a house with a facade to the street: a flat roof, or a ridge along the street."""
    builder = FacesBuilder()
    facade = int(rng.choice(library.facades))
    tint = _tint(rng, 0.75, 1.1)
    # Whole bays, so that no window is cut at a corner.
    across = max(round(width_m / FACADE_M[0] * 4), 1) / 4
    side_tint = _tint(rng, 0.6, 0.95, 0.06)
    height_m = floors * _FLOOR_M + 0.4
    front = Surface(texture=facade, kind=Kind.BUILDING, tint=tint)
    _stacked(builder, (0.0, 0.0), (width_m, 0.0), across, floors, front)
    windows = rng.random() < 0.6
    plain = int(rng.choice(library.plain))
    ends = (((width_m, 0.0), (0.0, depth_m)), ((0.0, depth_m), (0.0, -depth_m)))
    for start, along in ends:
        if windows:
            _stacked(builder, start, along, max(round(depth_m / FACADE_M[0] * 4), 1) / 4, floors, front)
        else:
            surface = Surface(texture=plain, kind=Kind.BUILDING, tint=side_tint)
            span = (0.0, 0.0, depth_m / 8, height_m / 8)
            builder.quad((*start, -1.0), (*along, 0), (0, 0, height_m + 1.0), surface, span)
    if rng.random() < 0.35 + 0.15 * (floors > 3):
        _parapet(builder, library, width_m, depth_m, height_m, side_tint)
    else:
        _ridge(rng, builder, library, width_m, depth_m, height_m, side_tint)
    return builder


def _stacked(
    builder: FacesBuilder,
    start: tuple[float, float],
    along: tuple[float, float],
    across: float,
    floors: int,
    surface: Surface,
) -> None:
    """Cover a wall with floors: the ground floor once, the upper ones as often as needed."""
    direction = (*along, 0.0)
    bottom = 0.0
    lowest = min(floors, _FLOORS)
    while floors > 0:
        count = min(floors, lowest if bottom == 0 else _FLOORS - 1)
        foot = 1.0 if bottom == 0 else 1.0 - 1.0 / _FLOORS
        span: Span = (0.0, foot - count / _FLOORS, across, foot)
        origin = (*start, bottom)
        builder.quad(origin, direction, (0, 0, count * _FLOOR_M), surface, span)
        if bottom == 0:
            # Below the facade the plinth goes on into the slope.
            builder.quad((*start, -1.5), direction, (0, 0, 1.5), surface, (0.0, 0.985, across, 1.0))
        bottom, floors = bottom + count * _FLOOR_M, floors - count


def _parapet(
    builder: FacesBuilder, library: Library, width_m: float, depth_m: float, height_m: float, tint: Tint
) -> None:
    surface = Surface(texture=library.plain[0], kind=Kind.BUILDING, tint=tint)
    low = height_m - 0.4
    builder.box(
        (-0.15, -0.15, low), (width_m + 0.15, depth_m + 0.15, height_m + 0.3), surface, metres=(8.0, 8.0)
    )


def _ridge(
    rng: np.random.Generator,
    builder: FacesBuilder,
    library: Library,
    width_m: float,
    depth_m: float,
    height_m: float,
    tint: Tint,
) -> None:
    """Add a roof whose ridge runs along the street, or towards it."""
    tiles = Surface(texture=int(rng.choice(library.roofs)), kind=Kind.BUILDING, tint=_tint(rng, 0.7, 1.15))
    wall = Surface(texture=library.plain[0], kind=Kind.BUILDING, tint=tint)
    eave, foot = 0.45, height_m - 0.4
    if rng.random() < 0.65 or width_m > 14:
        rise, half = depth_m * rng.uniform(0.25, 0.45), depth_m / 2
        up = half + eave
        drop = eave * rise / half
        long = width_m + 2 * eave
        span = (0.0, 0.0, long / 6, up / 6)
        builder.quad((-eave, -eave, foot - drop), (long, 0, 0), (0, up, rise + drop), tiles, span)
        builder.quad(
            (width_m + eave, depth_m + eave, foot - drop), (-long, 0, 0), (0, -up, rise + drop), tiles, span
        )
        for x, sign in ((0.0, -1), (width_m, 1)):
            y0 = 0.0 if sign > 0 else depth_m
            corners = [(x, y0, foot), (x, depth_m - y0, foot), (x, half, foot + rise)]
            right, rise_up = np.array([0.0, sign * depth_m, 0.0]), np.array([0.0, 0.0, rise])
            builder.polygon(
                corners, np.array(corners[0]), right, rise_up, wall, (0.0, 0.0, depth_m / 8, rise / 8)
            )
        return
    rise, half = width_m * rng.uniform(0.35, 0.55), width_m / 2
    drop = eave * rise / half
    span = (0.0, 0.0, depth_m / 6, half / 6)
    builder.quad(
        (-eave, depth_m, foot - drop), (0, -depth_m - eave, 0), (half + eave, 0, rise + drop), tiles, span
    )
    builder.quad(
        (width_m + eave, -eave, foot - drop),
        (0, depth_m + eave, 0),
        (-half - eave, 0, rise + drop),
        tiles,
        span,
    )
    corners = [(0.0, 0.0, foot), (width_m, 0.0, foot), (half, 0.0, foot + rise)]
    front = (0.0, 0.0, width_m / 8, rise / 8)
    builder.polygon(
        corners, np.array(corners[0]), np.array([width_m, 0.0, 0.0]), np.array([0.0, 0.0, rise]), wall, front
    )


def hall(rng: np.random.Generator, library: Library, width_m: float, depth_m: float) -> FacesBuilder:
    """Return a hall of metal with a flat roof."""
    builder = FacesBuilder()
    side = Surface(
        texture=int(rng.choice(library.cladding)), kind=Kind.BUILDING, tint=_tint(rng, 0.5, 1.2, 0.12)
    )
    height_m = float(rng.uniform(5, 9))
    builder.box((0, 0, -1), (width_m, depth_m, height_m), side, metres=(10.0, height_m + 1))
    if rng.random() < 0.6:
        sign = Surface(texture=int(rng.choice(library.boards)), kind=Kind.BUILDING)
        builder.quad((width_m * 0.3, -0.12, height_m - 2.6), (5.0, 0, 0), (0, 0, 2.2), sign)
    return builder


def wall(rng: np.random.Generator, library: Library, length_m: float, height_m: float) -> FacesBuilder:
    """Return a garden wall along x."""
    builder = FacesBuilder()
    stone = int(rng.choice(library.masonry + library.plain[:1]))
    surface = Surface(texture=stone, kind=Kind.WALL, tint=_tint(rng, 0.7, 1.1))
    builder.box((0, 0, -0.6), (length_m, 0.3, height_m), surface, top=surface, metres=(3.2, 3.2))
    return builder


def fence(rng: np.random.Generator, library: Library, length_m: float, height_m: float) -> FacesBuilder:
    """Return a fence along x, through which one can see."""
    builder = FacesBuilder()
    texture = int(rng.choice(library.fences))
    surface = Surface(texture=texture, kind=Kind.FENCE, tint=_tint(rng, 0.7, 1.4), cutout=True, soft=0.5)
    builder.quad((0, 0, 0), (length_m, 0, 0), (0, 0, height_m), surface, (0.0, 0.0, length_m / 1.6, 1.0))
    return builder


def hedge(rng: np.random.Generator, library: Library, length_m: float, height_m: float) -> FacesBuilder:
    """Return a hedge along x with a ragged top."""
    builder = FacesBuilder()
    which = int(rng.integers(len(library.hedges)))
    tint, thick = _tint(rng, 0.7, 1.15), float(rng.uniform(0.6, 1.2))
    closed = Surface(texture=library.hedges[which], kind=Kind.VEGETATION, tint=tint, soft=0.5)
    ragged = Surface(texture=library.fringes[which], kind=Kind.VEGETATION, tint=tint, soft=0.6, cutout=True)
    builder.box((0, 0, -0.6), (length_m, thick, height_m), closed, top=closed, metres=(3.0, 3.0))
    for y in (0.0, thick / 2, thick):
        origin = (0, y, height_m - 0.15)
        builder.quad(origin, (length_m, 0, 0), (0, 0, 0.6), ragged, (0.0, 0.0, length_m / 3.0, 1.0))
    return builder
