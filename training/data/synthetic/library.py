"""The textures that one world is dressed in, by name."""

from dataclasses import dataclass

import numpy as np

from training.data.synthetic import (
    figure_textures,
    ground_textures,
    plant_textures,
    vehicle_textures,
    wall_textures,
)
from training.data.synthetic.atlas import Atlas, AtlasBuilder
from training.data.synthetic.noise import Colour
from training.data.synthetic.profile import Profile

Numbers = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CarLook:
    """The textures of one car."""

    side: int
    cabin: int
    screen: int
    lid: int
    front: int
    back: int


@dataclass(frozen=True, kw_only=True)
class LorryLook:
    """The textures of one lorry."""

    side: int
    back: int
    front: int
    wheels: int


@dataclass(frozen=True, kw_only=True)
class Library:
    """Numbers of textures in the atlas."""

    strip: int
    asphalt: int
    zebra: int
    land: int
    facades: Numbers
    plain: Numbers
    cladding: Numbers
    masonry: Numbers
    roofs: Numbers
    fences: Numbers
    leaves: Numbers
    hedges: Numbers
    fringes: Numbers
    tree_rows: Numbers
    bark: Numbers
    metal: int
    dark: int
    cars: tuple[CarLook, ...]
    lorries: tuple[LorryLook, ...]
    people: Numbers
    signs: Numbers
    boards: Numbers


def build_library(rng: np.random.Generator, profile: Profile, style: str) -> tuple[Library, Atlas]:
    """Draw all textures of a world."""
    atlas = AtlasBuilder()
    tone = float(rng.uniform(0.3, 0.52))
    grass = _grass(rng)
    greens = [plant_textures.green(rng) for _ in range(4)]
    paved = style == "city" or (style == "arterial" and rng.random() < 0.3)
    land = (
        ground_textures.paving(rng, 512, float(rng.uniform(0.4, 0.6)))
        if paved
        else ground_textures.land(rng, 512, 512, grass)
    )
    library = Library(
        strip=atlas.add(ground_textures.strip(rng, profile, tone, grass)),
        asphalt=atlas.add(ground_textures.asphalt(rng, 256, tone)),
        zebra=atlas.add(ground_textures.zebra(rng, tone)),
        land=atlas.add(land),
        facades=tuple(atlas.add(wall_textures.facade(rng, 512)) for _ in range(5)),
        plain=tuple(atlas.add(wall_textures.plain(rng, 256)) for _ in range(2)),
        cladding=(atlas.add(wall_textures.cladding(rng, 256)),),
        masonry=tuple(atlas.add(wall_textures.masonry(rng, 256)) for _ in range(2)),
        roofs=tuple(atlas.add(wall_textures.roof(rng, 256)) for _ in range(2)),
        fences=tuple(atlas.add(*wall_textures.fence(rng, 128)) for _ in range(2)),
        leaves=tuple(atlas.add(*plant_textures.leaves(rng, 256, colour)) for colour in greens),
        hedges=tuple(atlas.add(plant_textures.hedge(rng, 256, colour)) for colour in greens[:2]),
        fringes=tuple(atlas.add(*plant_textures.fringe(rng, 256, colour)) for colour in greens[:2]),
        tree_rows=tuple(atlas.add(*plant_textures.tree_row(rng, 256, 512, colour)) for colour in greens[1:3]),
        bark=tuple(atlas.add(plant_textures.bark(rng, 64)) for _ in range(2)),
        metal=atlas.add(wall_textures.plain(rng, 64)),
        dark=atlas.add(np.full((16, 16, 3), 0.035, np.float32)),
        cars=tuple(_car(rng, atlas) for _ in range(7)),
        lorries=tuple(_lorry(rng, atlas) for _ in range(2)),
        people=tuple(atlas.add(*figure_textures.person(rng, 256, 128)) for _ in range(4)),
        signs=tuple(atlas.add(*figure_textures.sign(rng, 64)) for _ in range(4)),
        boards=tuple(atlas.add(figure_textures.board(rng, 64, 128)) for _ in range(2)),
    )
    return library, atlas.build()


def _grass(rng: np.random.Generator) -> Colour:
    colours: tuple[Colour, ...] = (
        (0.30, 0.37, 0.14),
        (0.25, 0.33, 0.12),
        (0.40, 0.40, 0.20),
        (0.48, 0.43, 0.28),
        (0.22, 0.28, 0.11),
    )
    return colours[int(rng.integers(len(colours)))]


def _car(rng: np.random.Generator, atlas: AtlasBuilder) -> CarLook:
    paint = vehicle_textures.PAINTS[int(rng.integers(len(vehicle_textures.PAINTS)))]
    return CarLook(
        side=atlas.add(*vehicle_textures.side(rng, paint, 128, 256)),
        cabin=atlas.add(vehicle_textures.cabin(rng, paint, 64, 128)),
        screen=atlas.add(vehicle_textures.screen(rng, paint, 64, 128)),
        lid=atlas.add(vehicle_textures.bonnet(rng, paint, 64, 64)),
        front=atlas.add(vehicle_textures.end(rng, paint, 128, 128, front=True)),
        back=atlas.add(vehicle_textures.end(rng, paint, 128, 128, front=False)),
    )


def _lorry(rng: np.random.Generator, atlas: AtlasBuilder) -> LorryLook:
    paint = vehicle_textures.PAINTS[int(rng.integers(len(vehicle_textures.PAINTS)))]
    return LorryLook(
        side=atlas.add(vehicle_textures.lorry_side(rng, 128, 256)),
        back=atlas.add(vehicle_textures.lorry_back(rng, 128, 128)),
        front=atlas.add(vehicle_textures.lorry_front(rng, paint, 128, 128)),
        wheels=atlas.add(*vehicle_textures.lorry_wheels(64, 256)),
    )
