"""One sequence's world: everything that stands, moves and shines, built once from its seed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from training.data.synthetic.atlas import Atlas
from training.data.synthetic.camera_path import FIRST_FRAME, Drive, draw_drive, route_length_m
from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.faces import Faces
from training.data.synthetic.ground import Ground
from training.data.synthetic.kerbside import shaded_parked_cars
from training.data.synthetic.library import build_library
from training.data.synthetic.light import Light, draw_light, in_forest, shade
from training.data.synthetic.profile import draw_profile
from training.data.synthetic.road import Road, build_road
from training.data.synthetic.scenery import furnish
from training.data.synthetic.shadows import GroundLight, cast
from training.data.synthetic.sky import Sky, build_sky
from training.data.synthetic.street import Street, draw_junctions
from training.data.synthetic.traffic import Mover, draw_traffic

_VIEW_M = 170.0
_BENDS = {"city": 0.5, "residential": 0.8, "rural": 1.0, "arterial": 0.35, "forest": 0.4, "jam": 0.2}
_HILLS = {"city": 0.35, "residential": 0.7, "rural": 1.0, "arterial": 0.4, "forest": 0.5, "jam": 0.2}
_SPEEDS = {"city": 0.35, "residential": 0.3, "rural": 0.75, "arterial": 0.8, "forest": 0.9, "jam": 0.1}
_STILL_M = 1e-3


@dataclass(frozen=True, kw_only=True)
class World:
    """A street, what is on it, and the car that drives along it."""

    road: Road
    ground: Ground
    atlas: Atlas
    light: Light
    sky: Sky
    ground_light: GroundLight
    still: Faces
    still_shade: Float32[np.ndarray, "faces 3"]
    movers: tuple[Mover, ...]
    drive: Drive
    seed: int
    """Of what differs from frame to frame by chance: the sensor's noise."""

    def faces(self, frame: int) -> tuple[Faces, Float32[np.ndarray, "faces 3"], Bool[np.ndarray, " faces"]]:
        """Return everything at a frame, how it is lit, and whether it moves."""
        moved = [mover.at(self.road, frame) for mover in self.movers]
        moves = [
            np.full(len(faces), self._moves(mover, frame))
            for faces, mover in zip(moved, self.movers, strict=True)
        ]
        shades = [shade(faces, self.light) for faces in moved]
        return (
            Faces.joined([self.still, *moved]),
            np.concatenate([self.still_shade, *shades]),
            np.concatenate([np.zeros(len(self.still), bool), *moves]),
        )

    def _moves(self, mover: Mover, frame: int) -> bool:
        """Return whether a mover is elsewhere in the frame before or behind."""
        index = frame - FIRST_FRAME
        ways = (mover.along_m, mover.across_m)
        last = len(mover.along_m) - 1
        return any(
            abs(way[index] - way[max(min(index + step, last), 0)]) > _STILL_M
            for way in ways
            for step in (-1, 1)
        )


def build_world(config: SyntheticConfig, sequence: int) -> World:
    """Build the world of a sequence; the same settings always give the same."""
    style = config.style_of(sequence)
    seeds = np.random.SeedSequence([config.seed, sequence]).spawn(6)
    draws = [np.random.default_rng(seed) for seed in seeds]
    profile = draw_profile(draws[0], style)
    library, atlas = build_library(draws[1], profile, style)
    length_m = route_length_m(config) + _VIEW_M
    road = build_road(draws[2], length_m, bendiness=_BENDS[style], hilliness=_HILLS[style])
    junctions = draw_junctions(draws[2], style, length_m)
    street = Street(rng=draws[3], road=road, profile=profile, library=library, junctions=junctions)
    furnish(street, style)
    light = draw_light(draws[4])
    if style == "forest":
        light = in_forest(light)
    ground_light = cast(draws[4], Faces.joined(street.parts), road, light)
    _shade_parked(street, ground_light, light)
    still = Faces.joined([road.land(), *street.parts])
    drive = draw_drive(draws[5], config, profile.own_lane_m, _SPEEDS[style])
    movers = draw_traffic(
        draws[5], library, profile, junctions, drive, config.frames_per_s, jam=style == "jam"
    )
    return World(
        road=road,
        ground=Ground(road, profile, library, junctions),
        atlas=atlas,
        light=light,
        sky=build_sky(draws[4], light),
        ground_light=ground_light,
        still=still,
        still_shade=shade(still, light),
        movers=movers,
        drive=drive,
        seed=int(np.random.SeedSequence([config.seed, sequence, 1]).generate_state(1)[0]),
    )


def _shade_parked(street: Street, ground_light: GroundLight, light: Light) -> None:
    """Put parked cars into the shade: look whether the ground beside them, towards the sun, lies in it."""
    if not street.parked:
        return
    places = np.array([street.road.at(along, across)[0] for _, along, across in street.parked])
    beside = (places[:, :2] + 2.2 * light.to_sun[:2] / np.linalg.norm(light.to_sun[:2])).astype(np.float32)
    along, across, _ = street.road.coordinates(beside[:, 0], beside[:, 1])
    sun, _ = ground_light.at(along, across)
    shaded_parked_cars(street, (0.15 + 0.85 * sun).astype(np.float32))
