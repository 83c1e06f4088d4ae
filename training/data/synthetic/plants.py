"""Trees, bushes and edges of woods, each at its own origin."""

import numpy as np

from training.data.synthetic.faces import FacesBuilder, Surface
from training.data.synthetic.frame import Kind
from training.data.synthetic.library import Library

_GOLDEN_ANGLE = 2.39996


def tree(rng: np.random.Generator, library: Library, *, clumps: int) -> FacesBuilder:
    """Return a tree: a trunk and clumps of leaves on the surface of its crown."""
    builder = FacesBuilder()
    height = float(rng.uniform(5.0, 11.0))
    stem = height * float(rng.uniform(0.18, 0.36))
    _trunk(rng, builder, library, float(rng.uniform(0.09, 0.23)), stem + 1.5)
    wide = height * float(rng.uniform(0.22, 0.36))
    crown = (0.0, 0.0, (stem + height) / 2)
    _crown(rng, builder, library, crown, (wide, wide, (height - stem) / 2), clumps)
    return builder


def forest_tree(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a tall tree of a forest's edge: a bare stem, and a crown above the height of a car's view."""
    builder = FacesBuilder()
    height = float(rng.uniform(13, 22))
    stem = height * float(rng.uniform(0.25, 0.5))
    _trunk(rng, builder, library, float(rng.uniform(0.12, 0.35)), stem + 2)
    wide = height * float(rng.uniform(0.14, 0.22))
    crown = (0.0, 0.0, (stem + height) / 2)
    _crown(
        rng,
        builder,
        library,
        crown,
        (wide, wide, (height - stem) / 2),
        12,
        light=float(rng.uniform(0.5, 1.1)),
    )
    return builder


def conifer(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a tree that narrows towards its top."""
    builder = FacesBuilder()
    height = float(rng.uniform(7, 14))
    _trunk(rng, builder, library, 0.16, 2.5)
    for floor in range(4):
        share = floor / 4
        wide = height * 0.2 * (1 - 0.75 * share)
        middle = (0.0, 0.0, height * (0.2 + 0.68 * share))
        _crown(rng, builder, library, middle, (wide, wide, height * 0.16), 3, light=0.7)
    return builder


def bush(rng: np.random.Generator, library: Library) -> FacesBuilder:
    """Return a bush."""
    builder = FacesBuilder()
    size = float(rng.uniform(0.5, 1.3))
    _crown(rng, builder, library, (0.0, 0.0, size * 0.7), (size, size, size * 0.85), 5)
    return builder


def wood_edge(
    rng: np.random.Generator, library: Library, length_m: float, height_m: float, dimmed: float = 1.0
) -> FacesBuilder:
    """Return a row of trees along x, which faces -y and is seen from both sides.

    Args:
        rng: What is left to chance.
        library: Where the pictures of rows of trees are.
        length_m: Along x.
        height_m: Of the trees.
        dimmed: What part of the light it has: less within a wood.
    """
    builder = FacesBuilder()
    texture = int(rng.choice(library.tree_rows))
    light = dimmed * float(rng.uniform(0.9, 1.3))
    surface = Surface(
        texture=texture, kind=Kind.VEGETATION, tint=(light, light, light * 0.95), cutout=True, soft=0.7
    )
    shift = float(rng.uniform(0, 1))
    span = (shift, 0.0, shift + length_m / (2 * height_m), 1.0)
    builder.quad((0, 0, -0.6), (length_m, 0, 0), (0, 0, height_m), surface, span)
    return builder


def _trunk(
    rng: np.random.Generator, builder: FacesBuilder, library: Library, half_m: float, height_m: float
) -> None:
    surface = Surface(texture=int(rng.choice(library.bark)), kind=Kind.VEGETATION, soft=0.3)
    lean = rng.normal(0, 0.04, 2) * height_m
    corners = [(half_m * np.cos(a), half_m * np.sin(a)) for a in np.arange(5) * 2 * np.pi / 5]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        right, up = (x1 - x0, y1 - y0, 0), (lean[0], lean[1], height_m)
        builder.quad((x0, y0, -0.3), right, up, surface, (0.0, 0.0, 1.0, height_m / 2))


def _crown(
    rng: np.random.Generator,
    builder: FacesBuilder,
    library: Library,
    middle: tuple[float, float, float],
    radii: tuple[float, float, float],
    clumps: int,
    light: float = 1.0,
) -> None:
    """Spread clumps evenly over an ellipsoid; each faces outwards and is lighter towards the top."""
    texture = int(rng.choice(library.leaves))
    first = rng.uniform(0, 6.3)
    for number in range(clumps):
        rise = 1 - 2 * (number + 0.5) / clumps
        flat = np.sqrt(1 - rise * rise)
        angle = first + _GOLDEN_ANGLE * number
        outward = np.array([flat * np.cos(angle), flat * np.sin(angle), rise])
        place = np.array(middle) + 0.5 * outward * radii
        # Leaning only half as much as the ellipsoid, so that no clump is seen edge-on from the street.
        facing = np.array([outward[0], outward[1], 0.35 * outward[2]]) + rng.normal(0, 0.15, 3)
        facing /= np.linalg.norm(facing)
        right = np.cross((0.0, 0.0, 1.0), facing)
        right /= np.linalg.norm(right)
        up = np.cross(facing, right)
        size = rng.uniform(0.95, 1.25) * 0.8
        extent_right, extent_up = 2 * size * radii[0] * right, 2 * size * min(radii[2], radii[0] * 1.3) * up
        shade = float(light * (0.9 + 0.25 * rise) * rng.uniform(0.85, 1.15))
        surface = Surface(
            texture=texture,
            kind=Kind.VEGETATION,
            tint=(shade, shade, shade * 0.97),
            cutout=True,
            soft=0.55,
        )
        builder.quad(place - (extent_right + extent_up) / 2, extent_right, extent_up, surface)
