"""A map, in street coordinates, of how much sun and sky light reach the ground: shadows and dark corners.

Shadows are the outlines of faces, thrown along the sun's rays.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from training.data.synthetic.faces import Faces
from training.data.synthetic.frame import Kind
from training.data.synthetic.light import Light
from training.data.synthetic.lookup import read_at
from training.data.synthetic.noise import fractal, smoothstep
from training.data.synthetic.road import Road

CELL_M = 0.1
HALF_WIDTH_M = 25.6
_ROUND = np.array([(np.cos(a), np.sin(a)) for a in np.arange(10) * 2 * np.pi / 10]) * 0.46
_FIXED = 4


@dataclass(frozen=True)
class GroundLight:
    """Light on the ground at each cell; rows go along the street, columns from right to left."""

    sun: UInt8[np.ndarray, "rows columns"]
    """255 where the sun is not hidden."""
    sky: UInt8[np.ndarray, "rows columns"]
    """128 where the sky is not hidden; the ground's own large spots are in it."""
    start_m: float
    """`along` of the first row."""

    def at(
        self, along: Float32[np.ndarray, " places"], across: Float32[np.ndarray, " places"]
    ) -> tuple[Float32[np.ndarray, " places"], Float32[np.ndarray, " places"]]:
        """Return the shares of sun and sky light at places; those outside get all of both."""
        row = (along - np.float32(self.start_m)) / np.float32(CELL_M) - np.float32(0.5)
        column = (across + np.float32(HALF_WIDTH_M)) / np.float32(CELL_M) - np.float32(0.5)
        sun = read_at(self.sun, column, row, outside=255)
        sky = read_at(self.sky, column, row, outside=128)
        return sun / np.float32(255), sky / np.float32(128)


def cast(rng: np.random.Generator, faces: Faces, road: Road, light: Light) -> GroundLight:
    """Return the light on the ground between things that stand still."""
    start_m = -road.behind_m
    rows, columns = int((road.length_m + road.behind_m) / CELL_M), int(2 * HALF_WIDTH_M / CELL_M)
    corners = faces.corners
    shadow = np.zeros((rows, columns), np.uint8)
    dappled = np.zeros((rows, columns), np.uint8)
    ground_z = np.interp(corners[..., 0], road.slab_x, road.slab_z)
    above = np.maximum(corners[..., 2] - ground_z, 0)
    thrown = corners[..., :2] - above[..., None] * (light.to_sun[:2] / light.to_sun[2])
    leafy = faces.cutout & (faces.kind == Kind.VEGETATION)
    _fill(shadow, thrown[~leafy], road, start_m)
    _fill(dappled, _rounded(thrown[leafy]), road, start_m)
    leaves = fractal(rng, 512, 512, cells=(64, 64), falloff=0.8)
    tiles = np.tile(leaves, (rows // 512 + 1, columns // 512 + 1))[:rows, :columns]
    through = smoothstep(0.9, 1.6, tiles)
    hidden = np.maximum(shadow.astype(np.float32), dappled * (1 - through))
    sun = 1 - cv2.GaussianBlur(hidden, (0, 0), 0.9)
    dark = np.zeros((rows, columns), np.uint8)
    solid = np.isin(faces.kind, (Kind.CAR, Kind.LORRY))
    low = (above.min(axis=1) < 0.5) & ~leafy
    _fill(dark, corners[solid | low][..., :2], road, start_m)
    sky = 1 - 0.62 * cv2.GaussianBlur(dark.astype(np.float32), (0, 0), 2.5)
    spots = fractal(rng, 512, 512, cells=(4, 8), falloff=0.7)
    sky *= 1 + 0.05 * np.tile(spots, (rows // 512 + 1, columns // 512 + 1))[:rows, :columns]
    return GroundLight((sun * 255).astype(np.uint8), np.clip(sky * 128, 0, 255).astype(np.uint8), start_m)


def _rounded(quads: Float64[np.ndarray, "faces 4 2"]) -> Float64[np.ndarray, "faces 10 2"]:
    """Return the ellipses inside parallelograms."""
    middle = quads.mean(axis=1, keepdims=True)
    right, up = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    rounded: Float64[np.ndarray, "faces 10 2"] = (
        middle + _ROUND[None, :, :1] * right[:, None] + _ROUND[None, :, 1:] * up[:, None]
    )
    return rounded


def _fill(
    plane: UInt8[np.ndarray, "rows columns"],
    outlines: Float64[np.ndarray, "faces corners 2"],
    road: Road,
    start_m: float,
) -> None:
    """Paint outlines given in the world."""
    if not len(outlines):
        return
    places = outlines.reshape(-1, 2).astype(np.float32)
    along, across, _ = road.coordinates(places[:, 0], places[:, 1])
    cells = np.stack([(across + HALF_WIDTH_M) / CELL_M, (along - start_m) / CELL_M], axis=1)
    cells = cells.reshape(len(outlines), -1, 2)
    for outline in cells[_near(cells, plane)]:
        fixed = np.round(outline * (1 << _FIXED)).astype(np.int32)
        cv2.fillConvexPoly(plane, cv2.convexHull(fixed), 1, shift=_FIXED)


def _near(cells: Float32[np.ndarray, "faces corners 2"], plane: np.ndarray) -> Bool[np.ndarray, " faces"]:
    """Return which outlines touch the plane and are not torn apart by a place far from the street."""
    low, high = cells.min(axis=1), cells.max(axis=1)
    touches = (high > 0).all(axis=1) & (low[:, 0] < plane.shape[1]) & (low[:, 1] < plane.shape[0])
    near: Bool[np.ndarray, " faces"] = touches & ((high - low).max(axis=1) < 600)
    return near
