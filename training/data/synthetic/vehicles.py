"""The shapes of cars, vans, lorries and people in space, standing at the origin and facing along x."""

import numpy as np

from training.data.synthetic.faces import Faces, FacesBuilder, Surface
from training.data.synthetic.frame import Kind
from training.data.synthetic.library import CarLook, Library, LorryLook

Profile2 = tuple[tuple[float, float], ...]
# x and z from the nose backwards: bonnet, windscreen's foot and head, rear window's head and foot, tail.
_SALOON: Profile2 = ((2.1, 0.72), (1.0, 0.92), (0.35, 1.42), (-0.85, 1.40), (-1.45, 0.98), (-2.1, 0.93))
_HATCHBACK: Profile2 = ((1.9, 0.74), (0.95, 0.95), (0.25, 1.50), (-1.35, 1.46), (-1.8, 0.98), (-1.9, 0.92))
_ESTATE: Profile2 = ((2.25, 0.74), (1.15, 0.94), (0.45, 1.46), (-1.65, 1.44), (-2.15, 0.98), (-2.25, 0.90))
_VAN: Profile2 = ((2.3, 0.90), (1.75, 1.15), (1.05, 1.95), (-2.15, 1.95), (-2.28, 1.15), (-2.3, 0.95))
_CARS = (_SALOON, _HATCHBACK, _HATCHBACK, _ESTATE, _ESTATE, _VAN)
_CLEARANCE_M = 0.16
MIRRORED = (1.0, 0.0, 0.0, 1.0)


def car(rng: np.random.Generator, library: Library) -> Faces:
    """Return a car of a random build and look."""
    look = library.cars[int(rng.integers(len(library.cars)))]
    outline = _CARS[int(rng.integers(len(_CARS)))]
    scale = float(rng.uniform(0.95, 1.06))
    return _car(outline, look, library.dark, half_m=0.87 * scale, scale=scale)


def _car(outline: Profile2, look: CarLook, dark: int, *, half_m: float, scale: float) -> Faces:
    builder = FacesBuilder()
    points = [(x * scale, z * scale) for x, z in outline]
    (nose, nose_z), _, _, _, _, (tail, tail_z) = points
    belt_z = min(points[1][1], points[4][1])
    roof_half = half_m * 0.76
    widths = (half_m, half_m, roof_half, roof_half, half_m, half_m)
    textures = (look.lid, look.screen, look.lid, look.screen, look.lid)
    for part, texture in enumerate(textures):
        (x0, z0), (x1, z1) = points[part], points[part + 1]
        w0, w1 = widths[part], widths[part + 1]
        wide = max(w0, w1)
        corners = [(x0, w0, z0), (x0, -w0, z0), (x1, -w1, z1), (x1, w1, z1)]
        # A texture's lower edge is in front on what one sees from the front, behind on the rest.
        if part < 3:
            origin, right, up = (x0, -wide, z0), (0.0, 2 * wide, 0.0), (x1 - x0, 0.0, z1 - z0)
        else:
            origin, right, up = (x1, wide, z1), (0.0, -2 * wide, 0.0), (x0 - x1, 0.0, z0 - z1)
        _polygon(builder, corners, origin, right, up, Surface(texture=texture, kind=Kind.CAR))
    painted = Surface(texture=look.side, kind=Kind.CAR, cutout=True)
    length = nose - tail
    # The left side is the right one mirrored: its texture runs from the nose at the left.
    builder.quad((nose, half_m, 0.0), (-length, 0, 0), (0, 0, belt_z), painted)
    builder.quad((tail, -half_m, 0.0), (length, 0, 0), (0, 0, belt_z), painted, MIRRORED)
    for side in (1, -1):
        _cabin(builder, points, belt_z, side, half_m, roof_half, Surface(texture=look.cabin, kind=Kind.CAR))
    ends = ((nose, -half_m, 1, nose_z, look.front), (tail, half_m, -1, tail_z, look.back))
    for x, y, sign, z, texture in ends:
        low = _CLEARANCE_M
        surface = Surface(texture=texture, kind=Kind.CAR)
        builder.quad((x, y, low), (0, sign * 2 * half_m, 0), (0, 0, z - low), surface)
    # Daylight does not pass beneath: a dark plane between the wheels.
    below = Surface(texture=dark, kind=Kind.CAR)
    builder.quad((tail * 0.8, 0.0, 0.02), (length * 0.8, 0, 0), (0, 0, 0.3), below)
    builder.quad((nose * 0.8, 0.0, 0.02), (-length * 0.8, 0, 0), (0, 0, 0.3), below)
    tyre = 0.24 * half_m
    for y in (-half_m, half_m - tyre):
        builder.quad((nose - 0.5, y, 0.0), (0, tyre, 0), (0, 0, 0.4), below)
        builder.quad((tail + 0.5, y + tyre, 0.0), (0, -tyre, 0), (0, 0, 0.4), below)
    return builder.build()


def _cabin(
    builder: FacesBuilder,
    points: list[tuple[float, float]],
    belt_z: float,
    side: int,
    half_m: float,
    roof_half: float,
    surface: Surface,
) -> None:
    (x1, _), (x2, z2), (x3, z3), (x4, _) = points[1:5]
    roof_z = max(z2, z3)
    ring = [(x1, half_m, belt_z), (x2, roof_half, roof_z), (x3, roof_half, roof_z), (x4, half_m, belt_z)]
    corners = [(x, side * y, z) for x, y, z in ring]
    up = (0.0, side * (roof_half - half_m), roof_z - belt_z)
    # Both sides have the nose at the texture's left edge, so one of them is mirrored.
    if side > 0:
        _polygon(builder, corners, (x1, half_m, belt_z), (x4 - x1, 0.0, 0.0), up, surface)
    else:
        _polygon(builder, corners, (x4, -half_m, belt_z), (x1 - x4, 0.0, 0.0), up, surface, MIRRORED)


def _counter_clockwise(
    corners: list[tuple[float, float, float]], front: np.ndarray
) -> list[tuple[float, float, float]]:
    points = np.array(corners)
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    return corners if normal @ front > 0 else corners[::-1]


def _polygon(
    builder: FacesBuilder,
    corners: list[tuple[float, float, float]],
    origin: tuple[float, float, float],
    right: tuple[float, float, float],
    up: tuple[float, float, float],
    surface: Surface,
    span: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> None:
    o, r, u = (np.array(vector) for vector in (origin, right, up))
    ordered = _counter_clockwise(corners, np.cross(r, u))
    builder.polygon(ordered, o, r, u, surface, span)


def lorry(rng: np.random.Generator, library: Library) -> Faces:
    """Return a lorry: a cab and a box on wheels."""
    look = library.lorries[int(rng.integers(len(library.lorries)))]
    return _lorry(
        look, library.dark, length_m=float(rng.uniform(6.5, 11)), height_m=float(rng.uniform(2.9, 3.8))
    )


def _lorry(look: LorryLook, dark: int, *, length_m: float, height_m: float) -> Faces:
    builder = FacesBuilder()
    half, nose, tail, floor = 1.22, length_m / 2, -length_m / 2, 0.95
    box, cab_height = length_m - 2.1, min(2.8, height_m - 0.1)
    side = Surface(texture=look.side, kind=Kind.LORRY)
    front = Surface(texture=look.front, kind=Kind.LORRY)
    builder.quad((tail + box, half, floor), (-box, 0, 0), (0, 0, height_m - floor), side)
    builder.quad((tail, -half, floor), (box, 0, 0), (0, 0, height_m - floor), side)
    builder.quad((tail, half, height_m), (0, -2 * half, 0), (box, 0, 0), side, (0.0, 0.0, 0.1, 0.1))
    back = Surface(texture=look.back, kind=Kind.LORRY)
    builder.quad((tail, half, 0.55), (0, -2 * half, 0), (0, 0, height_m - 0.55), back)
    builder.quad((tail + box, -half, floor), (0, 2 * half, 0), (0, 0, height_m - floor), side)
    builder.quad((nose, -half, 0.35), (0, 2 * half, 0), (0, 0, cab_height - 0.35), front)
    cab = (0.0, 0.0, 0.5, 1.0)
    builder.quad((nose, half, 0.5), (-1.9, 0, 0), (0, 0, cab_height - 0.5), front, cab)
    builder.quad((nose - 1.9, -half, 0.5), (1.9, 0, 0), (0, 0, cab_height - 0.5), front, cab)
    wheels = Surface(texture=look.wheels, kind=Kind.LORRY, cutout=True)
    builder.quad((nose, half, 0.0), (-length_m, 0, 0), (0, 0, 1.0), wheels)
    builder.quad((tail, -half, 0.0), (length_m, 0, 0), (0, 0, 1.0), wheels, MIRRORED)
    below = Surface(texture=dark, kind=Kind.LORRY)
    builder.quad((tail + 1.6, half, 0.05), (0, -2 * half, 0), (0, 0, 0.9), below)
    builder.quad((nose - 0.6, -half, 0.05), (0, 2 * half, 0), (0, 0, 0.9), below)
    return builder.build()


def person(rng: np.random.Generator, library: Library) -> Faces:
    """Return a person: two pictures that cross, so that nobody is thin from any side."""
    builder = FacesBuilder()
    number = library.people[int(rng.integers(len(library.people)))]
    surface = Surface(texture=number, kind=Kind.PERSON, cutout=True, soft=0.7)
    height = float(rng.uniform(1.55, 1.9))
    half = 0.27 * height / 1.75
    for angle in (rng.uniform(0, 0.4), rng.uniform(1.3, 1.8)):
        dx, dy = half * np.cos(angle), half * np.sin(angle)
        builder.quad((-dx, -dy, 0.0), (2 * dx, 2 * dy, 0), (0, 0, height), surface)
    return builder.build()
