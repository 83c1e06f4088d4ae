"""A street to which things are added, and the streets that cross it."""

from dataclasses import dataclass, field

import numpy as np

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


_BETWEEN_JUNCTIONS_M = {
    "city": (50, 130),
    "residential": (45, 120),
    "rural": (120, 300),
    "arterial": (80, 200),
    "forest": (150, 400),
    "jam": (90, 200),
}


def draw_junctions(rng: np.random.Generator, style: str, length_m: float) -> tuple[Junction, ...]:
    """Draw where other streets cross."""
    junctions = []
    along = float(rng.uniform(15, 90))
    gap = _BETWEEN_JUNCTIONS_M[style]
    while along < length_m - 40:
        zebra = bool(style not in ("rural", "forest") and rng.random() < 0.5)
        junctions.append(Junction(along_m=along, half_m=float(rng.uniform(2.8, 4.5)), zebra=zebra))
        along += float(rng.uniform(*gap))
    return tuple(junctions)
