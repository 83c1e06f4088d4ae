"""Put houses, gardens, woods and halls beside a street, in the manner of its style."""

import numpy as np

from training.data.synthetic import buildings, furniture, plants
from training.data.synthetic.camera import turn
from training.data.synthetic.kerbside import dress_junction, park_cars, put_furniture
from training.data.synthetic.street import Street


def furnish(street: Street, style: str) -> None:
    """Fill both sides of a street."""
    for side in (1, -1):
        _BACKGROUNDS[style](street, side)
        park_cars(street, side, style)
        put_furniture(street, side, style)
    _horizon(street)
    for junction in street.junctions:
        dress_junction(street, junction, style)


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


def _forest(street: Street, side: int) -> None:
    """Line the road with a forest: tall stems, undergrowth, and rows of trees that darken inwards."""
    rng, library = street.rng, street.library
    edge = street.profile.half_m + float(rng.uniform(0.8, 3.0))
    step = float(rng.uniform(10, 15))
    for along in np.arange(-35.0, street.end_m, step):
        if not street.free(along, along + step):
            continue
        for row, dimmed in enumerate((rng.uniform(0.35, 0.9), 0.4, 0.2)):
            wood = plants.wood_edge(rng, library, step + 1.5, float(rng.uniform(10, 20)), dimmed)
            street.put_front(wood, along, step, side, edge + 4 + 4.0 * row + rng.uniform(0, 2))
        for place in rng.uniform(along, along + step, int(rng.integers(2, 6))):
            street.put(plants.forest_tree(rng, library), place, side * (edge + rng.uniform(0, 6)))
        for place in rng.uniform(along, along + step, int(rng.integers(1, 5))):
            street.put(plants.bush(rng, library), place, side * (edge + rng.uniform(0, 3)))


def _beside_jam(street: Street, side: int) -> None:
    (_city if street.rng.random() < 0.5 else _arterial)(street, side)


def _arterial(street: Street, side: int) -> None:
    rng = street.rng
    edge = street.profile.half_m + 0.5
    rail, rows = bool(rng.random() < 0.4), bool(rng.random() < 0.6)
    along = -35.0
    while along < street.end_m:
        length = float(rng.uniform(18, 45))
        if not street.free(along, along + length):
            along += 5.0
            continue
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
        _along_edge(street, side, along, length, edge, rail=rail, trees=rows)
        along += length
    _far_woods(street, side, 30, 50)


def _along_edge(
    street: Street, side: int, start: float, length: float, edge: float, *, rail: bool, trees: bool
) -> None:
    """Line the asphalt with a guard rail, and with trees behind it."""
    rng, library = street.rng, street.library
    for piece in np.arange(start, start + length - 7.9, 8.0) if rail else ():
        street.put_front(furniture.guard_rail(library, 8.0), piece, 8.0, side, edge)
    for place in np.arange(start, start + length, rng.uniform(8, 13)) if trees else ():
        street.put(plants.tree(rng, library, clumps=11), place, side * (edge + rng.uniform(0.8, 2)))


def _far_woods(street: Street, side: int, near: float, far: float) -> None:
    rng = street.rng
    for along in np.arange(-30, street.end_m, 24.0):
        if rng.random() < 0.75:
            edge = plants.wood_edge(rng, street.library, 26.0, float(rng.uniform(6, 13)))
            street.put_front(edge, along, 24.0, side, rng.uniform(near, far))


def _horizon(street: Street) -> None:
    """Close the view far away by woods and blocks across the street's direction."""
    rng = street.rng
    end, _ = street.road.at(street.road.length_m)
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


_BACKGROUNDS = {
    "city": _city,
    "residential": _residential,
    "rural": _rural,
    "arterial": _arterial,
    "forest": _forest,
    "jam": _beside_jam,
}
