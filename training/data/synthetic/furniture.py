"""Poles, lamp posts, signs, traffic lights, bins and boards, each at its own origin, facing -x."""

import numpy as np

from training.data.synthetic.faces import FacesBuilder, Surface
from training.data.synthetic.frame import Kind
from training.data.synthetic.library import Library


def _pole(builder: FacesBuilder, library: Library, half_m: float, height_m: float, tone: float) -> None:
    surface = Surface(texture=library.metal, kind=Kind.POLE, tint=(tone, tone, tone))
    builder.box((-half_m, -half_m, -0.2), (half_m, half_m, height_m), surface)


def lamp_post(rng: np.random.Generator, library: Library, reach_m: float) -> FacesBuilder:
    """Return a lamp post whose arm reaches to the left, or to the right if negative."""
    builder = FacesBuilder()
    height, tone = float(rng.uniform(5, 9)), float(rng.uniform(0.35, 0.8))
    _pole(builder, library, 0.07, height, tone)
    metal = Surface(texture=library.metal, kind=Kind.POLE, tint=(tone, tone, tone))
    left, right = min(reach_m, 0.0), max(reach_m, 0.0)
    builder.box((-0.05, left, height - 0.1), (0.05, right, height), metal, top=metal)
    head = reach_m - 0.25, reach_m + 0.25
    builder.box((-0.12, head[0], height - 0.12), (0.12, head[1], height + 0.04), metal, top=metal)
    return builder


def wooden_pole(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a pole for wires."""
    builder = FacesBuilder()
    wood = Surface(texture=library.bark[0], kind=Kind.POLE, tint=(1.2, 1.15, 1.1))
    builder.box((-0.13, -0.13, -0.3), (0.13, 0.13, float(rng.uniform(6.5, 8.5))), wood)
    return builder


def sign(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a traffic sign on its pole; its back is grey."""
    builder = FacesBuilder()
    height, size = float(rng.uniform(2.0, 2.6)), float(rng.uniform(0.55, 0.8))
    _pole(builder, library, 0.035, height + size * 0.8, 0.6)
    board = Surface(texture=int(rng.choice(library.signs)), kind=Kind.SIGN, cutout=True, soft=0.6)
    builder.quad((-0.06, size / 2, height), (0, -size, 0), (0, 0, size), board)
    back = Surface(texture=library.metal, kind=Kind.SIGN, tint=(0.5, 0.5, 0.5))
    half = size * 0.35
    builder.quad((-0.05, -half, height + size * 0.15), (0, 2 * half, 0), (0, 0, size * 0.7), back)
    return builder


def traffic_light(library: Library, colour: int) -> FacesBuilder:
    """Return a traffic light showing red (0), amber (1) or green (2)."""
    builder = FacesBuilder()
    _pole(builder, library, 0.06, 3.2, 0.55)
    case = Surface(texture=library.dark, kind=Kind.SIGN)
    builder.box((-0.2, -0.15, 2.3), (0.0, 0.15, 3.2), case, top=case)
    lights = ((24.0, 3.0, 2.5), (24.0, 15.0, 2.5), (4.0, 24.0, 11.0))
    for number, tint in enumerate(lights):
        dim = 1.0 if number == colour else 0.12
        lamp = Surface(
            texture=library.dark, kind=Kind.SIGN, tint=(tint[0] * dim, tint[1] * dim, tint[2] * dim), soft=1.0
        )
        builder.quad((-0.215, 0.1, 2.93 - 0.29 * number), (0, -0.2, 0), (0, 0, 0.2), lamp)
    return builder


def bin_or_box(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a bin, or a grey box for cables."""
    builder = FacesBuilder()
    tint = ((0.2, 0.25, 0.2), (0.5, 0.5, 0.48), (0.15, 0.2, 0.35), (0.6, 0.5, 0.15))[int(rng.integers(4))]
    surface = Surface(texture=library.plain[0], kind=Kind.WALL, tint=tint)
    wide, high = float(rng.uniform(0.25, 0.6)), float(rng.uniform(0.9, 1.4))
    builder.box((-0.3, -wide, -0.2), (0.3, wide, high), surface, top=surface)
    return builder


def billboard(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return an advertisement on two legs."""
    builder = FacesBuilder()
    for y in (-1.2, 1.2):
        leg = Surface(texture=library.metal, kind=Kind.POLE, tint=(0.4, 0.4, 0.4))
        builder.box((0.0, y - 0.05, -0.2), (0.1, y + 0.05, 1.2), leg)
    board = Surface(texture=int(rng.choice(library.boards)), kind=Kind.SIGN)
    back = Surface(texture=library.metal, kind=Kind.SIGN, tint=(0.5, 0.5, 0.5))
    builder.box((-0.02, -1.8, 1.0), (0.12, 1.8, 3.4), back)
    builder.quad((-0.03, 1.8, 1.0), (0, -3.6, 0), (0, 0, 2.4), board)
    return builder


def guard_rail(library: Library, length_m: float) -> FacesBuilder:
    """Return a steel rail on posts, along x."""
    builder = FacesBuilder()
    steel = Surface(texture=library.metal, kind=Kind.FENCE, tint=(0.75, 0.76, 0.78))
    builder.box((0, 0, 0.45), (length_m, 0.08, 0.75), steel, top=steel, metres=(4.0, 0.4))
    for x in np.arange(1.0, length_m, 4.0):
        builder.box((x, 0.08, -0.2), (x + 0.1, 0.16, 0.75), steel)
    return builder
