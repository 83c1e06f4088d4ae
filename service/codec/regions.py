"""Distances to places in a picture, from its depth map: a few numbers each, in place of all of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64

from service.contract.errors import InvalidArgument
from service.contract.regions import Distance, Distances, Regions
from service.contract.request import Intrinsics

Depth = Float32[np.ndarray, "height width"]
_MOST_PIXELS = 262_144
"""Of a region that are looked at; of a larger one, every second or third row and column."""


def measure_regions(
    depth: Depth, regions: Regions, picture: tuple[int, int], lens: Intrinsics | None
) -> Distances:
    """Return a distance for each region, in their order.

    Args:
        depth: The map; NaN where there is no depth.
        regions: In pixels of the picture.
        picture: Its height and width, which the map may not have.
        lens: Of the map's own pixels; None: no region has a middle in space.

    Raises:
        InvalidArgument: A region lies outside; the message says which.
    """
    ruler = _Ruler(depth, picture, lens)
    boxes = [((box[0], box[1]), (box[2], box[3])) for box in regions.boxes]
    return Distances(
        points=tuple(ruler.point(index, point) for index, point in enumerate(regions.points)),
        boxes=tuple(ruler.within(f"boxes[{index}]", box) for index, box in enumerate(boxes)),
        polygons=tuple(
            ruler.within(f"polygons[{index}]", polygon, outlined=True)
            for index, polygon in enumerate(regions.polygons)
        ),
    )


class _Ruler:
    """Measures in one map."""

    def __init__(self, depth: Depth, picture: tuple[int, int], lens: Intrinsics | None) -> None:
        self._depth, self._picture, self._lens = depth, picture, lens
        self._scale = np.array([depth.shape[1] / picture[1], depth.shape[0] / picture[0]])

    def point(self, index: int, point: tuple[float, float]) -> Distance:
        """Measure the pixel that a point lies in."""
        self._check(f"points[{index}]", np.array([point]))
        column, row = (np.array(point) * self._scale).astype(np.int64)
        rows, columns = self._depth.shape
        row, column = min(row, rows - 1), min(column, columns - 1)
        return self._described(np.array([row]), np.array([column]))

    def within(
        self, where: str, region: Sequence[tuple[float, float]], *, outlined: bool = False
    ) -> Distance:
        """Measure the pixels whose centres lie between two corners, or inside an outline; one at least."""
        corners = np.array(region, np.float64)
        self._check(where, corners)
        corners *= self._scale
        rows, columns = self._depth.shape
        left, right = _span(corners[:, 0], columns)
        top, bottom = _span(corners[:, 1], rows)
        step = int(np.ceil(np.sqrt((bottom - top) * (right - left) / _MOST_PIXELS)))
        row, column = np.arange(top, bottom, step), np.arange(left, right, step)
        if not outlined:
            grid = np.meshgrid(row, column, indexing="ij")
            return self._described(grid[0].ravel(), grid[1].ravel())
        inside = _inside(corners, row + 0.5, column + 0.5)
        if not inside.any():
            middle = corners.mean(axis=0)
            inside[np.abs(row + 0.5 - middle[1]).argmin(), np.abs(column + 0.5 - middle[0]).argmin()] = True
        at_row, at_column = np.nonzero(inside)
        return self._described(row[at_row], column[at_column])

    def _check(self, where: str, corners: Float64[np.ndarray, "corners 2"]) -> None:
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        height, width = self._picture
        if right < 0 or bottom < 0 or left >= width or top >= height:
            raise InvalidArgument(
                f"{where} lies outside, at x {left:g} to {right:g} and y {top:g} to {bottom:g}; "
                f"expected some of it within the picture's {width}x{height} pixels"
            )

    def _described(self, row: np.ndarray, column: np.ndarray) -> Distance:
        values = self._depth[row, column]
        known = np.isfinite(values)
        share = float(known.mean())
        if not share:
            return Distance(share=0.0)
        values, row, column = values[known], row[known], column[known]
        low, middle, high = (float(each) for each in np.quantile(values, (0.1, 0.5, 0.9)))
        xyz = None
        if (lens := self._lens) is not None:
            x = (column + 0.5 - lens.cx_px) / lens.fx_px * values
            y = (row + 0.5 - lens.cy_px) / lens.fy_px * values
            xyz = (float(x.mean()), float(y.mean()), float(values.mean(dtype=np.float64)))
        return Distance(median=middle, p10=low, p90=high, nearest=float(values.min()), xyz=xyz, share=share)


def _span(along: Float64[np.ndarray, " corners"], size: int) -> tuple[int, int]:
    """Return the pixels along one side whose centres lie inside: the first, and the one after the last."""
    first = int(np.clip(np.ceil(along.min() - 0.5), 0, size - 1))
    last = int(np.clip(np.ceil(along.max() - 0.5), first + 1, size))
    return first, last


def _inside(
    corners: Float64[np.ndarray, "corners 2"],
    y: Float64[np.ndarray, " rows"],
    x: Float64[np.ndarray, " columns"],
) -> Bool[np.ndarray, "rows columns"]:
    """Return which places lie inside an outline, by the even-odd rule."""
    inside = np.zeros((len(y), len(x)), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crossed = ((y < y0) != (y < y1))[:, None]
        inside ^= crossed & (x < (x0 + (y - y0) / (y1 - y0) * (x1 - x0))[:, None])
    return inside
