"""The line that a street follows, the height of the land, and where along the street any place on earth is.

Street coordinates are `along` (metres from the start) and `across` (metres to the left).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int32

from training.data.synthetic.faces import GROUND_TEXTURE, Faces, FacesBuilder, Surface
from training.data.synthetic.frame import Kind

STEP_M = 0.5
SLAB_M = 12.0
"""The land is flat between lines this far apart and bends there, across the direction of the start."""
LAND_HALF_WIDTH_M = 260.0
_CELL_M = 1.0

Numbers = Float64[np.ndarray, "*shape"]


@dataclass(frozen=True)
class Road:
    """A centre line and the heights of the land."""

    place: Float64[np.ndarray, "steps 2"]
    """x and y of the line at every step."""
    heading: Float64[np.ndarray, " steps"]
    """Angle from x to the left, in radians."""
    curvature: Float64[np.ndarray, " steps"]
    """Change of heading a metre."""
    slab_x: Float64[np.ndarray, " slabs"]
    """Where the land bends."""
    slab_z: Float64[np.ndarray, " slabs"]
    """Height there."""
    nearest: Int32[np.ndarray, "rows columns"]
    """The nearest step of the line for each square metre."""
    corner: tuple[float, float]
    """x and y of the first square metre's middle."""
    behind_m: float
    """`along` is negative before the start; the line begins this far behind it."""

    @property
    def length_m(self) -> float:
        """Length of the line in front of the start."""
        return (len(self.heading) - 1) * STEP_M - self.behind_m

    def at(self, along: float, across: float = 0.0) -> tuple[Float64[np.ndarray, "3"], float]:
        """Return the place on the ground and the heading at street coordinates."""
        step = np.clip((along + self.behind_m) / STEP_M, 0, len(self.heading) - 1)
        steps = np.arange(len(self.heading))
        heading = float(np.interp(step, steps, self.heading))
        x = float(np.interp(step, steps, self.place[:, 0])) - np.sin(heading) * across
        y = float(np.interp(step, steps, self.place[:, 1])) + np.cos(heading) * across
        return np.array([x, y, self.height_m(x)]), heading

    def height_m(self, x: float) -> float:
        """Return the height of the land."""
        return float(np.interp(x, self.slab_x, self.slab_z))

    def coordinates(
        self, x: Float32[np.ndarray, " places"], y: Float32[np.ndarray, " places"]
    ) -> tuple[
        Float32[np.ndarray, " places"], Float32[np.ndarray, " places"], Float32[np.ndarray, "places 2"]
    ]:
        """Return along, across, and the street's direction (cosine and sine) at places on earth."""
        rows, columns = self.nearest.shape
        row = np.clip((y - np.float32(self.corner[1] - 0.5)).astype(np.int32), 0, rows - 1)
        column = np.clip((x - np.float32(self.corner[0] - 0.5)).astype(np.int32), 0, columns - 1)
        table = self._table()[self.nearest[row, column]]
        dx, dy = x - table[:, 0], y - table[:, 1]
        direction = table[:, 2:4]
        ahead = dx * direction[:, 0] + dy * direction[:, 1]
        left = dy * direction[:, 0] - dx * direction[:, 1]
        # Nearby the line is a circle: turn the step's coordinates into those along the circle.
        bend = table[:, 5]
        across = left - 0.5 * bend * ahead * ahead
        along = table[:, 4] + ahead / np.maximum(1 - bend * left, 0.2)
        return along, across, direction

    def _table(self) -> Float32[np.ndarray, "steps 6"]:
        along = np.arange(len(self.heading)) * STEP_M - self.behind_m
        columns = [self.place[:, 0], self.place[:, 1], np.cos(self.heading), np.sin(self.heading)]
        return np.stack([*columns, along, self.curvature], axis=1).astype(np.float32)

    def land(self) -> Faces:
        """Return the ground as faces, one between each two bends."""
        builder = FacesBuilder()
        surface = Surface(texture=GROUND_TEXTURE, kind=Kind.TERRAIN)
        for slab in range(len(self.slab_x) - 1):
            x0, x1 = self.slab_x[slab : slab + 2]
            z0, z1 = self.slab_z[slab : slab + 2]
            right, up = (0.0, -2 * LAND_HALF_WIDTH_M, 0.0), (x1 - x0, 0.0, z1 - z0)
            builder.quad((x0, LAND_HALF_WIDTH_M, z0), right, up, surface)
        faces = builder.build()
        uv = np.zeros_like(faces.uv)
        uv[:, 0, 0] = uv[:, 1, 1] = 1.0
        return faces.replaced({"uv": uv})


def build_road(rng: np.random.Generator, length_m: float, *, bendiness: float, hilliness: float) -> Road:
    """Draw a street.

    Args:
        rng: Decides it.
        length_m: How far it goes from the start.
        bendiness: 0 for straight, 1 for winding.
        hilliness: 0 for flat, 1 for slopes up to about 5 %.
    """
    behind_m = 40.0
    steps = int((length_m + behind_m) / STEP_M) + 1
    curvature = _curvature(rng, steps, bendiness)
    heading = np.cumsum(curvature) * STEP_M
    heading -= np.interp(behind_m / STEP_M, np.arange(steps), heading)
    # The land bends only along x, so the street must not turn back.
    heading = 1.1 * np.tanh(heading / 1.1)
    curvature = np.gradient(heading, STEP_M)
    middle = heading - 0.5 * curvature * STEP_M
    place = np.cumsum(np.stack([np.cos(middle), np.sin(middle)], axis=1), axis=0) * STEP_M
    place -= place[int(behind_m / STEP_M)]
    slab_x = np.arange(-120.0, length_m + 240.0, SLAB_M)
    slope = _smooth_walk(rng, len(slab_x), reach=6) * 0.02 * hilliness
    slab_z = np.cumsum(slope) * SLAB_M
    slab_z -= np.interp(0.0, slab_x, slab_z)
    nearest, corner = _nearest_steps(place)
    return Road(place, heading, curvature, slab_x, slab_z, nearest, corner, behind_m)


def _curvature(rng: np.random.Generator, steps: int, bendiness: float) -> Float64[np.ndarray, " steps"]:
    """Return stretches of straight and of bend, joined smoothly."""
    curvature = np.zeros(steps)
    step = int(rng.uniform(0, 60) / STEP_M)
    while step < steps:
        bend = int(rng.uniform(15, 50) / STEP_M)
        radius_m = rng.uniform(25, 150) / max(bendiness, 1e-3)
        curvature[step : step + bend] = rng.choice([-1, 1]) / radius_m
        step += bend + int(rng.uniform(10, 80) / STEP_M)
    kernel = np.hanning(41)
    return np.convolve(curvature, kernel / kernel.sum(), mode="same")


def _smooth_walk(rng: np.random.Generator, count: int, *, reach: int) -> Float64[np.ndarray, " steps"]:
    kernel = np.hanning(2 * reach + 1)
    noise = rng.standard_normal(count + 2 * reach)
    return np.convolve(noise, kernel / np.sqrt((kernel**2).sum()), mode="valid")


def _nearest_steps(
    place: Float64[np.ndarray, "steps 2"],
) -> tuple[Int32[np.ndarray, "rows columns"], tuple[float, float]]:
    """Return the nearest step of the line for each cell of a grid around it."""
    margin = 60.0
    low = np.floor(place.min(axis=0) - margin)
    columns, rows = (np.ceil(place.max(axis=0) + margin - low) / _CELL_M).astype(int) + 1
    free = np.full((rows, columns), 255, np.uint8)
    cell = np.round((place - low) / _CELL_M).astype(int)
    free[cell[:, 1], cell[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    step_of_label = np.zeros(int(labels.max()) + 1, np.int32)
    step_of_label[labels[cell[:, 1], cell[:, 0]]] = np.arange(len(place))
    nearest = step_of_label[labels]
    return _refined(nearest, place, low), (float(low[0]), float(low[1]))


def _refined(
    nearest: Int32[np.ndarray, "rows columns"], place: Float64[np.ndarray, "steps 2"], low: np.ndarray
) -> Int32[np.ndarray, "rows columns"]:
    """Look a few steps up and down the line for a nearer one: the transform counts in whole cells."""
    rows, columns = nearest.shape
    x, y = low[0] + np.arange(columns)[None, :], low[1] + np.arange(rows)[:, None]
    best = nearest.copy()
    least = np.full(nearest.shape, np.inf)
    for offset in range(-6, 7):
        step = np.clip(nearest + offset, 0, len(place) - 1)
        distance = (place[step, 0] - x) ** 2 + (place[step, 1] - y) ** 2
        nearer = distance < least
        best[nearer], least[nearer] = step[nearer], distance[nearer]
    return best
