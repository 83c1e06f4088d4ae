"""Put parked cars and street furniture along the kerb, and dress junctions."""

import numpy as np
from jaxtyping import Float32

from training.data.synthetic import furniture, plants, vehicles
from training.data.synthetic.street import Junction, Street


def park_cars(street: Street, side: int, style: str) -> None:
    """Park cars on one side, bumper to bumper or here and there."""
    rng, profile = street.rng, street.profile
    if style in ("rural", "forest") or (style in ("arterial", "jam") and rng.random() < 0.6):
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


def put_furniture(street: Street, side: int, style: str) -> None:
    """Put lamp posts, signs, bins, standing people and trees on the pavement."""
    rng, profile, library = street.rng, street.profile, street.library
    near = profile.road_half_m + 0.55
    if rng.random() < 0.75:
        _posts(street, side, near, wooden=bool(style in ("rural", "forest") or rng.random() < 0.15))
    for along in np.arange(-10, street.end_m, 9.0):
        chance = rng.random()
        place, across = along + rng.uniform(0, 8), side * (near + rng.uniform(0, 0.4))
        if not street.free(place, place):
            continue
        if chance < 0.16:
            street.put(furniture.sign(rng, library), place, across, 0.0 if side < 0 else np.pi)
        elif chance < 0.24 and style not in ("rural", "forest"):
            street.put(furniture.bin_or_box(rng, library), place, side * (profile.half_m - 0.3))
        elif chance < 0.34 and style in ("city", "residential"):
            street.put(vehicles.person(rng, library), place, side * (profile.half_m - 0.9))
    if style in ("city", "residential") and profile.pavement_m > 1.3 and rng.random() < 0.55:
        step = rng.uniform(7, 16)
        for along in np.arange(rng.uniform(-20, -10), street.end_m, step):
            if street.free(along - 1, along + 1):
                street.put(plants.tree(rng, library, clumps=12), along, side * (near + 0.35))


def _posts(street: Street, side: int, near: float, *, wooden: bool) -> None:
    rng, library = street.rng, street.library
    for along in np.arange(rng.uniform(-20, 0), street.end_m, rng.uniform(22, 38)):
        if not street.free(along, along):
            continue
        if wooden:
            street.put(furniture.wooden_pole(rng, library), along, side * (near + 1.1))
        else:
            street.put(furniture.lamp_post(rng, library, -side * 1.6), along, side * (near + 0.1))


def dress_junction(street: Street, junction: Junction, style: str) -> None:
    """Put traffic lights at a junction, and cars on the crossing street."""
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


def shaded_parked_cars(street: Street, sun_share: Float32[np.ndarray, " parked"]) -> None:
    """Tell parked cars how much sun reaches them."""
    for (part, _, _), share in zip(street.parked, sun_share, strict=True):
        faces = street.parts[part]
        street.parts[part] = faces.replaced({"sunlit": np.full(len(faces), share, np.float32)})
