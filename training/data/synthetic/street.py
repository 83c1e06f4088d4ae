"""Put houses, trees, parked cars and street furniture along a street, in the manner of its style.

It does not know the camera, or anything that moves.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from training.data.synthetic import buildings, furniture, plants, vehicles
from training.data.synthetic.camera import turn
from training.data.synthetic.faces import Faces, FacesBuilder
from training.data.synthetic.library import Library
from training.data.synthetic.profile import Profile
from training.data.synthetic.road import Road


@dataclass(frozen=True, kw_only=True)
class Junction:
    """A street that crosses ours at a right angle."""

    along_m: float
    half_m: float
    zebra: bool

    def clear(self, start: float, end: float) -> bool:
        """Return whether a stretch keeps off the crossing street."""
        return bool(end < self.along_m - self.half_m - 3 or start > self.along_m + self.half_m + 3)


@dataclass(kw_only=True)
class Street:
    """What has been put along the street so far."""

    rng: np.random.Generator
    road: Road
    profile: Profile
    library: Library
    junctions: tuple[Junction, ...]
    parts: list[Faces] = field(default_factory=list)
    parked: list[tuple[int, float, float]] = field(default_factory=list)
    """Number of the part, along and across of each parked car."""

    @property
    def end_m(self) -> float:
        """How far things are put."""
        return self.road.length_m - 15

    def put(self, thing: FacesBuilder | Faces, along: float, across: float, angle: float = 0.0) -> None:
        """Put a thing on the ground, turned from the street's direction."""
        faces = thing.build() if isinstance(thing, FacesBuilder) else thing
        place, heading = self.road.at(along, across)
        self.parts.append(faces.moved(turn(2, heading + angle), place))

    def put_front(self, thing: FacesBuilder, start: float, length: float, side: int, distance: float) -> None:
        """Put a thing that is `length` long on one side, with its front to the street."""
        if side > 0:
            self.put(thing, start, distance)
        else:
            self.put(thing, start + length, -distance, np.pi)

    def free(self, start: float, end: float) -> bool:
        """Return whether no junction lies in a stretch."""
        return all(junction.clear(start, end) for junction in self.junctions)


def draw_junctions(rng: np.random.Generator, style: str, length_m: float) -> tuple[Junction, ...]:
    """Draw where other streets cross."""
    junctions = []
    along = float(rng.uniform(15, 90))
    gap = {"city": (50, 130), "residential": (45, 120), "rural": (120, 300), "arterial": (80, 200)}[style]
    while along < length_m - 40:
        zebra = bool(style != "rural" and rng.random() < 0.5)
        junctions.append(Junction(along_m=along, half_m=float(rng.uniform(2.8, 4.5)), zebra=zebra))
        along += float(rng.uniform(*gap))
    return tuple(junctions)


def furnish(street: Street, style: str) -> None:
    """Fill both sides of a street."""
    for side in (1, -1):
        _BACKGROUNDS[style](street, side)
        _kerbside(street, side, style)
        _furniture(street, side, style)
    _horizon(street)
    for junction in street.junctions:
        _at_junction(street, junction, style)


def _city(street: Street, side: int) -> None:
    rng = street.rng
    distance = street.profile.half_m + rng.uniform(0.0, 2.0)
    along = -35.0
    while along < street.end_m:
        width = float(rng.uniform(7, 22))
        choice = rng.random()
        if not street.free(along, along + width):
            along += 4.0
            continue
        back = distance + (0.0 if rng.random() < 0.75 else rng.uniform(0, 5))
        if choice < 0.8:
            house = buildings.block(rng, street.library, width, rng.uniform(9, 14), int(rng.integers(2, 6)))
            street.put_front(house, along, width, side, back)
        elif choice < 0.9:
            street.put_front(
                buildings.wall(rng, street.library, width, rng.uniform(1.2, 2.6)),
                along,
                width,
                side,
                distance,
            )
            _yard(street, side, along, width, distance + 2, int(rng.integers(1, 4)))
        else:
            hall = buildings.hall(rng, street.library, width, 14.0)
            street.put_front(hall, along, width, side, back + rng.uniform(0, 6))
        along += width + (0.02 if rng.random() < 0.65 else rng.uniform(1, 6))


def _residential(street: Street, side: int) -> None:
    rng = street.rng
    setback = rng.uniform(2.5, 9.0)
    along = -35.0
    while along < street.end_m:
        width, gap = float(rng.uniform(7, 13)), float(rng.uniform(2, 10))
        if not street.free(along, along + width + gap):
            along += 4.0
            continue
        edge = street.profile.half_m + 0.3
        house = buildings.block(rng, street.library, width, rng.uniform(8, 11), int(rng.integers(1, 4)))
        street.put_front(house, along, width, side, edge + setback + rng.uniform(0, 1.5))
        _boundary(street, side, along - gap / 2, width + gap, edge)
        _yard(street, side, along, width, edge + 1.0, int(rng.integers(0, 4)), depth=max(setback - 1, 1.0))
        if rng.random() < 0.5:
            street.put(
                plants.tree(rng, street.library, clumps=11),
                along + width + gap / 2,
                side * (edge + setback + rng.uniform(0, 5)),
            )
        along += width + gap


def _boundary(street: Street, side: int, start: float, length: float, distance: float) -> None:
    """Bound a garden by a hedge, a wall, a fence, or nothing; pieces are short so that they follow bends."""
    rng = street.rng
    make = (buildings.hedge, buildings.wall, buildings.fence, None)[
        int(rng.choice(4, p=[0.36, 0.24, 0.2, 0.2]))
    ]
    if make is None:
        return
    height = float(rng.uniform(0.8, 2.2))
    pieces = max(int(np.ceil(length / 7)), 1)
    opening = int(rng.integers(pieces + 1))
    for piece in range(pieces):
        if piece != opening or pieces == 1:
            step = length / pieces
            thing = make(rng, street.library, step, height)
            street.put_front(thing, start + piece * step, step, side, distance)


def _yard(
    street: Street, side: int, start: float, length: float, distance: float, count: int, depth: float = 4.0
) -> None:
    rng = street.rng
    for _ in range(count):
        along, across = start + rng.uniform(0, length), distance + rng.uniform(0.5, 0.5 + depth)
        thing = (
            plants.bush(rng, street.library)
            if rng.random() < 0.6
            else plants.tree(rng, street.library, clumps=10)
        )
        street.put(thing, along, side * across)


def _rural(street: Street, side: int) -> None:
    rng = street.rng
    edge = street.profile.half_m
    along = -35.0
    while along < street.end_m:
        length = float(rng.uniform(15, 60))
        kind = rng.choice(["wood", "trees", "hedge", "open", "farm"], p=[0.27, 0.3, 0.13, 0.2, 0.1])
        if not street.free(along, along + length):
            along += 5.0
            continue
        if kind == "wood":
            _wood(street, side, along, length, edge + rng.uniform(2.0, 6.0))
        elif kind == "trees":
            distance, step = edge + rng.uniform(1.0, 3.0), rng.uniform(5, 11)
            for place in np.arange(along, along + length, step):
                street.put(
                    plants.tree(rng, street.library, clumps=12),
                    place,
                    side * (distance + rng.uniform(0, 1.5)),
                )
        elif kind == "hedge":
            _boundary(street, side, along, length, edge + rng.uniform(0.8, 2.0))
        elif kind == "farm":
            width = min(length, float(rng.uniform(9, 18)))
            house = buildings.block(rng, street.library, width, 9.0, int(rng.integers(1, 3)))
            street.put_front(house, along, width, side, edge + rng.uniform(3, 14))
            _yard(street, side, along, length, edge + 1.0, 3)
        if rng.random() < 0.6:
            _yard(street, side, along, length, edge + 0.6, int(length / 9), depth=12.0)
        along += length
    _far_woods(street, side, 18, 45)


def _wood(street: Street, side: int, start: float, length: float, distance: float) -> None:
    """Plant the edge of a wood: two rows of pictures and single trees before them."""
    rng = street.rng
    for row in range(2):
        pieces = max(int(length / 12), 1)
        for piece in range(pieces):
            step = length / pieces
            edge = plants.wood_edge(rng, street.library, step + 1.5, float(rng.uniform(7, 13)))
            street.put_front(
                edge, start + piece * step, step, side, distance + 2 + 3.5 * row + rng.uniform(0, 1)
            )
    for place in np.arange(start, start + length, 6.0):
        make = (
            plants.conifer(rng, street.library)
            if rng.random() < 0.25
            else plants.tree(rng, street.library, clumps=9)
        )
        street.put(make, place + rng.uniform(-2, 2), side * (distance + rng.uniform(0, 1.5)))


def _arterial(street: Street, side: int) -> None:
    rng = street.rng
    edge = street.profile.half_m + 0.5
    rail = rng.random() < 0.4
    rows = rng.random() < 0.6
    along = -35.0
    while along < street.end_m:
        length = float(rng.uniform(18, 45))
        if not street.free(along, along + length):
            along += 5.0
            continue
        if rail:
            for piece in np.arange(along, along + length - 7.9, 8.0):
                street.put_front(furniture.guard_rail(street.library, 8.0), piece, 8.0, side, edge)
        kind = rng.choice(["hall", "block", "wood", "fence", "open"], p=[0.25, 0.2, 0.25, 0.15, 0.15])
        distance = edge + rng.uniform(3, 14)
        if kind == "hall":
            street.put_front(buildings.hall(rng, street.library, length, 16.0), along, length, side, distance)
        elif kind == "block":
            house = buildings.block(rng, street.library, length * 0.8, 12.0, int(rng.integers(3, 7)))
            street.put_front(house, along, length * 0.8, side, distance)
        elif kind == "wood":
            _wood(street, side, along, length, distance)
        elif kind == "fence":
            _boundary(street, side, along, length, edge + rng.uniform(0.5, 3))
        if rng.random() < 0.25:
            street.put(
                furniture.billboard(rng, street.library), along, side * (edge + 2.5), rng.uniform(-0.3, 0.3)
            )
        if rows:
            for place in np.arange(along, along + length, rng.uniform(8, 13)):
                street.put(
                    plants.tree(rng, street.library, clumps=11), place, side * (edge + rng.uniform(0.8, 2))
                )
        along += length
    _far_woods(street, side, 30, 50)


def _far_woods(street: Street, side: int, near: float, far: float) -> None:
    rng = street.rng
    for along in np.arange(-30, street.end_m, 24.0):
        if rng.random() < 0.75:
            edge = plants.wood_edge(rng, street.library, 26.0, float(rng.uniform(6, 13)))
            street.put_front(edge, along, 24.0, side, rng.uniform(near, far))


def _horizon(street: Street) -> None:
    """Close the view far away by woods and blocks across the street's direction."""
    rng = street.rng
    end, heading = street.road.at(street.road.length_m)
    for number in range(-7, 8):
        x, y = end[0] + rng.uniform(-15, 60), end[1] + number * 34.0
        height = float(rng.uniform(7, 16))
        thing = plants.wood_edge(rng, street.library, 42.0, height)
        place = np.array([x, y + 20, street.road.height_m(x) - 0.5])
        street.parts.append(thing.build().moved(turn(2, -np.pi / 2 + rng.uniform(-0.3, 0.3)), place))
    for side in (1, -1):
        for along in np.arange(-30, street.end_m, 38.0):
            thing = plants.wood_edge(rng, street.library, 44.0, float(rng.uniform(8, 18)))
            street.put_front(thing, along, 40.0, side, float(rng.uniform(52, 70)))


def _kerbside(street: Street, side: int, style: str) -> None:
    """Park cars, bumper to bumper or here and there."""
    rng, profile = street.rng, street.profile
    if style == "rural" or (style == "arterial" and rng.random() < 0.6):
        return
    roomy = profile.shoulder_m > 1.5
    density = rng.uniform(0.35, 0.95) if roomy else rng.uniform(0.0, 0.35)
    # Without room on the asphalt, cars stand with two wheels on the pavement.
    across = profile.road_half_m - 1.0 if roomy else profile.road_half_m + 0.55
    along = -20.0
    while along < street.end_m:
        along += float(rng.uniform(5.1, 6.4))
        if rng.random() < density and street.free(along - 5, along + 5):
            backwards = rng.random() < 0.12
            angle = (0.0 if side < 0 else np.pi) + (np.pi if backwards else 0.0) + rng.normal(0, 0.02)
            place = side * (across + rng.normal(0, 0.08))
            street.parked.append((len(street.parts), along, place))
            thing = vehicles.lorry if rng.random() < 0.02 else vehicles.car
            street.put(thing(rng, street.library), along, place, float(angle))


def _furniture(street: Street, side: int, style: str) -> None:
    rng, profile, library = street.rng, street.profile, street.library
    near = profile.road_half_m + 0.55
    if rng.random() < 0.75:
        step = rng.uniform(22, 38)
        make_wooden = style == "rural" or rng.random() < 0.15
        for along in np.arange(rng.uniform(-20, 0), street.end_m, step):
            if street.free(along, along):
                post = (
                    furniture.wooden_pole(rng, library)
                    if make_wooden
                    else furniture.lamp_post(rng, library, -side * 1.6)
                )
                street.put(post, along, side * (near + 0.1 + (1.0 if make_wooden else 0.0)))
    for along in np.arange(-10, street.end_m, 9.0):
        chance = rng.random()
        place, across = along + rng.uniform(0, 8), side * (near + rng.uniform(0, 0.4))
        if not street.free(place, place):
            continue
        if chance < 0.16:
            street.put(furniture.sign(rng, library), place, across, 0.0 if side < 0 else np.pi)
        elif chance < 0.24 and style != "rural":
            street.put(furniture.bin_or_box(rng, library), place, side * (profile.half_m - 0.3))
        elif chance < 0.34 and style in ("city", "residential"):
            street.put(vehicles.person(rng, library), place, side * (profile.half_m - 0.9))
    trees = style in ("city", "residential") and profile.pavement_m > 1.3 and rng.random() < 0.55
    if trees:
        step = rng.uniform(7, 16)
        for along in np.arange(rng.uniform(-20, -10), street.end_m, step):
            if street.free(along - 1, along + 1):
                street.put(plants.tree(rng, library, clumps=12), along, side * (near + 0.35))


def _at_junction(street: Street, junction: Junction, style: str) -> None:
    rng, library, profile = street.rng, street.library, street.profile
    near = profile.road_half_m + 0.5
    if style in ("city", "arterial") and rng.random() < 0.6:
        colour = int(rng.integers(3))
        before = junction.along_m - junction.half_m - 1.5
        for side in (1, -1):
            street.put(furniture.traffic_light(library, colour), before, side * near)
    for side in (1, -1):
        if rng.random() < 0.7:
            across = side * (profile.half_m + rng.uniform(14, 40))
            angle = np.pi / 2 * rng.choice([-1, 1])
            street.put(
                vehicles.car(rng, library), junction.along_m + rng.uniform(-1.6, 1.6), across, float(angle)
            )


_BACKGROUNDS = {"city": _city, "residential": _residential, "rural": _rural, "arterial": _arterial}


def shaded_parked_cars(street: Street, sun_share: Float32[np.ndarray, " parked"]) -> None:
    """Tell parked cars how much sun reaches them."""
    for (part, _, _), share in zip(street.parked, sun_share, strict=True):
        faces = street.parts[part]
        street.parts[part] = faces.replaced({"sunlit": np.full(len(faces), share, np.float32)})
