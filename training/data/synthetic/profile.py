"""A street's cross-section: lanes, parking, kerb, pavement and verge, and which of them lies where."""

from dataclasses import dataclass

import numpy as np

KERB_M = 0.16


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Widths from the middle line outwards, in metres; both sides alike save the pavement."""

    lanes: int
    """In both directions together."""
    lane_m: float
    shoulder_m: float
    """Between the last lane and the edge of the asphalt: parked cars, or the edge line."""
    kerb: bool
    verge_m: float
    """Grass between kerb and pavement."""
    pavement_m: float
    """0: none."""
    markings: bool
    edge_lines: bool

    @property
    def road_half_m(self) -> float:
        """From the middle to the edge of the asphalt."""
        return self.lanes * self.lane_m / 2 + self.shoulder_m

    @property
    def pavement_start_m(self) -> float:
        """From the middle to the inner edge of the pavement."""
        return self.road_half_m + (KERB_M if self.kerb else 0.0) + self.verge_m

    @property
    def half_m(self) -> float:
        """From the middle to where the land beside the street begins."""
        return self.pavement_start_m + self.pavement_m

    @property
    def own_lane_m(self) -> float:
        """Across, of the middle of the lane that the camera's car keeps to; traffic keeps to the right."""
        return -self.lane_m / 2 if self.lanes <= 3 else -1.5 * self.lane_m

    @property
    def oncoming_lane_m(self) -> float:
        """Across, of the middle of a lane in the other direction."""
        return self.lane_m / 2


def draw_profile(rng: np.random.Generator, style: str) -> Profile:
    """Draw a cross-section that suits a style."""
    if style == "city":
        return Profile(
            lanes=2,
            lane_m=rng.uniform(2.9, 3.5),
            shoulder_m=float(rng.choice([0.3, 2.1, 2.2])),
            kerb=True,
            verge_m=0.0,
            pavement_m=rng.uniform(1.6, 3.5),
            markings=bool(rng.random() < 0.6),
            edge_lines=False,
        )
    if style == "residential":
        return Profile(
            lanes=2,
            lane_m=rng.uniform(2.6, 3.2),
            shoulder_m=float(rng.choice([0.1, 1.9])),
            kerb=True,
            verge_m=float(rng.choice([0.0, 0.0, 1.2])),
            pavement_m=float(rng.choice([1.4, 2.0])),
            markings=bool(rng.random() < 0.35),
            edge_lines=False,
        )
    if style == "forest":
        return Profile(
            lanes=2,
            lane_m=rng.uniform(3.0, 3.6),
            shoulder_m=0.35,
            kerb=False,
            verge_m=rng.uniform(0.3, 1.5),
            pavement_m=0.0,
            markings=bool(rng.random() < 0.85),
            edge_lines=bool(rng.random() < 0.85),
        )
    if style == "rural":
        return Profile(
            lanes=2,
            lane_m=rng.uniform(2.7, 3.4),
            shoulder_m=0.35,
            kerb=False,
            verge_m=rng.uniform(0.3, 1.5),
            pavement_m=0.0 if rng.random() < 0.75 else 1.6,
            markings=bool(rng.random() < 0.75),
            edge_lines=bool(rng.random() < 0.6),
        )
    return Profile(
        lanes=4,
        lane_m=rng.uniform(3.0, 3.5),
        shoulder_m=0.6,
        kerb=True,
        verge_m=float(rng.choice([0.0, 1.0])),
        pavement_m=rng.uniform(1.5, 2.2),
        markings=True,
        edge_lines=bool(rng.random() < 0.6),
    )
