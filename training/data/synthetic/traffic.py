"""What moves: cars and lorries on our street and across it, and people on the pavements."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from training.data.synthetic import vehicles
from training.data.synthetic.camera import turn
from training.data.synthetic.camera_path import FIRST_FRAME, Drive
from training.data.synthetic.faces import Faces
from training.data.synthetic.library import Library
from training.data.synthetic.profile import Profile
from training.data.synthetic.road import Road
from training.data.synthetic.street import Junction


@dataclass(frozen=True, kw_only=True)
class Mover:
    """A thing and its way: where it is at each frame from `FIRST_FRAME` on."""

    faces: Faces
    along_m: Float64[np.ndarray, " frames"]
    across_m: Float64[np.ndarray, " frames"]
    angle: float
    """Of its front, from the street's direction."""
    half_length_m: float
    half_width_m: float

    def at(self, road: Road, frame: int) -> Faces:
        """Return the faces in the world at a frame."""
        rotation, place = self.pose(road, frame)
        return self.faces.moved(rotation, place)

    def pose(self, road: Road, frame: int) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
        """Return its rotation and place in the world at a frame."""
        index = frame - FIRST_FRAME
        place, heading = road.at(float(self.along_m[index]), float(self.across_m[index]))
        return turn(2, heading + self.angle), place


def draw_traffic(
    rng: np.random.Generator,
    library: Library,
    profile: Profile,
    junctions: tuple[Junction, ...],
    drive: Drive,
    frames_per_s: float,
    *,
    jam: bool = False,
) -> tuple[Mover, ...]:
    """Draw everything that moves during a drive.

    Args:
        rng: What is left to chance.
        library: Textures.
        profile: Where the lanes are.
        junctions: Where others cross.
        drive: The camera's way.
        frames_per_s: Of the camera.
        jam: Whether our side of the street is full of slow vehicles, many of them lorries.
    """
    time_s = np.arange(len(drive.along_m)) / frames_per_s
    ahead = _jam if jam else _ahead
    movers = [*_oncoming(rng, library, profile, drive, time_s), *ahead(rng, library, profile, drive, time_s)]
    movers += [_crossing(rng, library, junction, time_s) for junction in junctions if rng.random() < 0.55]
    movers += _walkers(rng, library, profile, drive, time_s)
    return tuple(movers)


def _vehicle(
    rng: np.random.Generator, library: Library, lorries: float
) -> tuple[Callable[..., Faces], float, float]:
    lorry = rng.random() < lorries
    return (vehicles.lorry, 4.5, 1.25) if lorry else (vehicles.car, 2.1, 0.9)


def _driving(
    rng: np.random.Generator,
    library: Library,
    along: np.ndarray,
    across: np.ndarray,
    angle: float,
    lorries: float = 0.12,
) -> Mover:
    make, half_length, half_width = _vehicle(rng, library, lorries)
    return Mover(
        faces=make(rng, library),
        along_m=along,
        across_m=across,
        angle=angle,
        half_length_m=half_length,
        half_width_m=half_width,
    )


def _oncoming(
    rng: np.random.Generator, library: Library, profile: Profile, drive: Drive, time_s: np.ndarray
) -> list[Mover]:
    movers = []
    speed = float(rng.uniform(6, 15))
    lanes = [profile.oncoming_lane_m + lane * profile.lane_m for lane in range(profile.lanes // 2)]
    busy = rng.uniform(0.2, 1.0)
    for lane in lanes:
        along = float(rng.uniform(8, 40))
        while along < drive.along_m[-1] + speed * time_s[-1] + 90:
            if rng.random() < busy:
                across = np.full(len(time_s), lane + rng.normal(0, 0.12))
                movers.append(_driving(rng, library, along - speed * time_s, across, np.pi))
            along += float(rng.uniform(12, 60))
    return movers


def _ahead(
    rng: np.random.Generator, library: Library, profile: Profile, drive: Drive, time_s: np.ndarray
) -> list[Mover]:
    """Return cars in our direction: one that keeps its distance, others that do not."""
    movers = []
    own = np.full(len(time_s), profile.own_lane_m + rng.normal(0, 0.1))
    gap = float(rng.uniform(9, 30))
    if rng.random() < 0.6:
        # Exactly our own speed in half the cases: the classic trap for view synthesis.
        closing = 0.0 if rng.random() < 0.5 else float(rng.uniform(-0.8, 0.8))
        movers.append(_driving(rng, library, drive.along_m + gap + closing * time_s, own, 0.0))
        while rng.random() < 0.6:
            gap += float(rng.uniform(10, 25))
            movers.append(_driving(rng, library, drive.along_m + gap + closing * time_s, own, 0.0))
    if profile.lanes >= 4:
        speed = float((drive.along_m[-1] - drive.along_m[0]) / max(time_s[-1], 1e-6))
        for _ in range(int(rng.integers(0, 4))):
            start, faster = float(rng.uniform(-12, 60)), float(rng.uniform(-3, 4))
            across = np.full(len(time_s), -profile.lane_m / 2 + rng.normal(0, 0.1))
            movers.append(_driving(rng, library, start + (speed + faster) * time_s, across, 0.0))
    return movers


def _jam(
    rng: np.random.Generator, library: Library, profile: Profile, drive: Drive, time_s: np.ndarray
) -> list[Mover]:
    """Return slow vehicles ahead in our lane, and in the lanes beside it from behind the camera on."""
    movers = []
    for lane in range(profile.lanes // 2):
        middle = -(lane + 0.5) * profile.lane_m
        own = abs(middle - profile.own_lane_m) < profile.lane_m / 2
        along = float(rng.uniform(9, 20) if own else rng.uniform(-9, 4))
        closing = float(rng.uniform(-0.5, 0.5))
        while along < 80:
            across = np.full(len(time_s), middle + rng.normal(0, 0.12))
            mover = _driving(rng, library, drive.along_m + along + closing * time_s, across, 0.0, lorries=0.4)
            movers.append(mover)
            along += 2 * mover.half_length_m + float(rng.uniform(2.5, 9))
    return movers


def _crossing(rng: np.random.Generator, library: Library, junction: Junction, time_s: np.ndarray) -> Mover:
    """Return a car on a crossing street; it turns out of nobody's way, for nobody drives into it."""
    side = int(rng.choice([-1, 1]))
    speed, start = float(rng.uniform(3, 9)), float(rng.uniform(7, 35))
    # It stops short of our lanes when the camera is near: simply let it wait at the edge.
    across = side * np.maximum(start - speed * time_s, 6.5 + junction.half_m * 0.2)
    along = np.full(len(time_s), junction.along_m + side * junction.half_m / 2)
    return _driving(rng, library, along, across, -side * np.pi / 2)


def _walkers(
    rng: np.random.Generator, library: Library, profile: Profile, drive: Drive, time_s: np.ndarray
) -> list[Mover]:
    movers: list[Mover] = []
    if profile.pavement_m <= 0:
        return movers
    for _ in range(int(rng.poisson(3))):
        side, way = int(rng.choice([-1, 1])), int(rng.choice([-1, 1]))
        start = float(rng.uniform(3, drive.along_m[-1] + 45))
        across = side * (profile.pavement_start_m + rng.uniform(0.3, max(profile.pavement_m - 0.3, 0.4)))
        movers.append(
            Mover(
                faces=vehicles.person(rng, library),
                along_m=start + way * rng.uniform(0.8, 1.6) * time_s,
                across_m=np.full(len(time_s), across),
                angle=0.0 if way > 0 else np.pi,
                half_length_m=0.25,
                half_width_m=0.25,
            )
        )
    return movers
