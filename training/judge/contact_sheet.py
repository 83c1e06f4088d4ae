"""The best and the worst frames of an evaluation in one picture: photograph, depth, ground truth, error.

Depth and ground truth share their colours; sparse ground truth is thickened to be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from model.images import resize_image
from training.judge.colour import MISSING, colour_depth, colour_values

Picture = UInt8[np.ndarray, "_ _ 3"]

CELL_WIDTH_PX = 480
_CAPTION_PX = 26
_NEAREST_M = 2.0
"""The lightest colour; little on a road is nearer."""
_LARGEST_ERROR = 0.5
"""Relative; the lightest colour in the picture of errors."""
_DENSE = 0.3
"""A ground truth of at least this share of measured pixels is drawn as it is."""


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One frame to draw."""

    caption: str
    image: Picture
    """As the network was shown it."""
    depth_m: Float32[np.ndarray, "height width"]
    """Aligned and clamped."""
    truth_m: Float32[np.ndarray, "height width"]
    """0 where nothing was measured."""
    counted: Bool[np.ndarray, "height width"]
    """Where the two were compared."""


def contact_sheet(title: str, rows: Sequence[SheetRow], farthest_m: float) -> Picture:
    """Draw frames one below the other.

    Args:
        title: Stands above: what was judged, and how.
        rows: The frames, in order.
        farthest_m: The darkest colour.
    """
    width = 4 * CELL_WIDTH_PX
    legend = (
        f"photograph | depth | ground truth, {_NEAREST_M:g} m light to {farthest_m:g} m dark, logarithmic | "
        f"relative error, 0 dark to {_LARGEST_ERROR:g} light"
    )
    parts = [_caption(title, width), _caption(legend, width)]
    for row in rows:
        parts += [_caption(row.caption, width), _draw(row, farthest_m)]
    return np.concatenate(parts)


def encode_png(picture: Picture) -> bytes:
    """Return a picture as a PNG file's content."""
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return bytes(encoded)


def _draw(row: SheetRow, farthest_m: float) -> Picture:
    height = max(1, round(CELL_WIDTH_PX * row.image.shape[0] / row.image.shape[1]))
    truth_m = np.where(row.truth_m > 0, row.truth_m, np.inf).astype(np.float32)
    error = np.full(row.truth_m.shape, -np.inf, np.float32)
    truth = row.truth_m[row.counted]
    error[row.counted] = np.abs(row.depth_m[row.counted] - truth) / truth
    if np.count_nonzero(row.truth_m > 0) < _DENSE * row.truth_m.size:
        side = max(1, round(1.5 * row.truth_m.shape[1] / CELL_WIDTH_PX)) | 1
        brush = np.ones((side, side), np.uint8)
        truth_m = cv2.erode(truth_m, brush, borderType=cv2.BORDER_REPLICATE).astype(
            np.float32
        )  # the nearest wins
        error = cv2.dilate(error, brush, borderType=cv2.BORDER_REPLICATE).astype(np.float32)  # the worst wins
    scaled = np.where(np.isfinite(error), error / _LARGEST_ERROR, np.nan)
    cells = [
        resize_image(row.image, height, CELL_WIDTH_PX),
        _cell(colour_depth(row.depth_m, _NEAREST_M, farthest_m), height),
        _cell(colour_depth(truth_m, _NEAREST_M, farthest_m), height),
        _cell(colour_values(scaled), height),
    ]
    return np.concatenate(cells, axis=1)


def _cell(colours: Picture, height: int) -> Picture:
    """Resize without mixing colours, which would make up depths that are not there."""
    resized: Picture = cv2.resize(colours, (CELL_WIDTH_PX, height), interpolation=cv2.INTER_NEAREST)
    return resized


def _caption(text: str, width: int) -> Picture:
    strip = np.full((_CAPTION_PX, width, 3), MISSING[0] // 3, np.uint8)
    white = (255, 255, 255)
    cv2.putText(strip, text, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, white, 1, cv2.LINE_AA)
    return strip
