"""The golden check: an image that is drawn the same everywhere, and how far off an output for it may be."""

import base64

import numpy as np
from jaxtyping import Float32, UInt8

from model.golden import COLUMNS, DRAWING, ROWS, GoldenAnswer, GoldenError

TOLERANCES = {"float32": 5e-3, "tf32": 0.01, "float16": 0.01, "bfloat16": 0.05}
"""How far an output may be off by the precision that computed it: the mean error relative to the values.

Measured on the networks that ship: OpenVINO 7e-7 in float32 and, in bfloat16, 0.015 (student) and 0.027
(teacher); torch on a CPU 4e-7, and 0.016 and 0.027. float16 and TF32 keep 10 bits; not measured.
"""

_LEAST_VALUE = 0.01
"""Errors are relative to a value, or to this fraction of the mean where that is larger: zero is legal."""


def golden_answer(answer: Float32[np.ndarray, "height width"]) -> GoldenAnswer:
    """Keep the plain network's output for the drawn image of the same size.

    Raises:
        GoldenError: It holds NaN or infinity, or zeros alone: no output could be told from it.
    """
    if not np.isfinite(answer).all():
        raise GoldenError("the plain network's output for the drawn image holds NaN or infinity")
    height, width = answer.shape
    values = answer[_spread(height, width)].astype("<f4")
    if not values.any():
        raise GoldenError("the plain network's output for the drawn image is zero everywhere")
    return GoldenAnswer(height=height, width=width, values=base64.b64encode(values.tobytes()).decode("ascii"))


def check_answer(
    golden: GoldenAnswer, answer: Float32[np.ndarray, "height width"], tolerance: float
) -> float:
    """Compare an answer to the drawn image with the golden one.

    Args:
        golden: What the plain network returned.
        answer: What another one returns, at the same size.
        tolerance: The largest mean error, relative to the values; see :data:`TOLERANCES`.

    Returns:
        The mean error.

    Raises:
        GoldenError: It is further off, holds NaN or infinity, or is of another size.
    """
    if golden.drawing != DRAWING:
        raise GoldenError(f"the golden answer is to drawing {golden.drawing}; this program draws {DRAWING}")
    height, width = answer.shape
    if (height, width) != (golden.height, golden.width):
        raise GoldenError(f"the answer is {width}x{height}; expected {golden.width}x{golden.height}")
    if broken := answer.size - int(np.isfinite(answer).sum()):
        raise GoldenError(f"{broken} of {answer.size} values of the output are NaN or infinite")
    expected = np.frombuffer(base64.b64decode(golden.values), "<f4").astype(np.float64)
    off = np.abs(answer[_spread(height, width)].astype(np.float64) - expected)
    floor = _LEAST_VALUE * np.abs(expected).mean()
    mean = float((off / np.maximum(np.abs(expected), floor)).mean())
    if not mean <= tolerance:
        raise GoldenError(
            f"the output for the drawn image is {mean:.2%} off the plain network's; "
            f"expected {tolerance:.2%} at most"
        )
    return mean


def drawn_image(height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a street: sky, ground with stripes that converge, and boxes of several colours and sizes.

    Whole numbers alone decide each pixel, so that every machine draws the same.
    """
    rows, columns = np.arange(height, dtype=np.int64)[:, None], np.arange(width, dtype=np.int64)[None, :]
    v, u = rows * 1024 // height, columns * 1024 // width
    horizon = 400
    below = np.maximum(v - horizon, 1)
    stripes = (np.abs(u - 512) * 512 // below) & 128
    ground = 50 + (v - horizon) // 8 + stripes // 2
    sky = 150 + v // 5
    red, green, blue = (np.where(v < horizon, sky - shade, ground + shade) for shade in (40, 20, 0))
    for left, top, right, bottom, colour in _BOXES:
        inside = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        red, green, blue = (
            np.where(inside, value, plane) for value, plane in zip(colour, (red, green, blue), strict=True)
        )
    grain = ((u * 7919) ^ (v * 104_729)) % 17 - 8
    planes = [np.clip(plane + grain, 0, 255).astype(np.uint8) for plane in (red, green, blue)]
    return np.stack(planes, axis=-1)


_BOXES = (
    (60, 180, 240, 620, (120, 90, 70)),
    (250, 300, 330, 560, (200, 190, 170)),
    (700, 120, 980, 640, (90, 100, 110)),
    (430, 440, 560, 640, (30, 30, 160)),
    (590, 470, 660, 600, (220, 40, 40)),
    (340, 330, 348, 720, (20, 20, 20)),
)
"""Left, top, right and bottom in 1024ths of the image, and colour; later ones hide earlier ones."""


def _spread(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the pixels that are stored, at the centres of equal cells."""
    rows, columns = min(ROWS, height), min(COLUMNS, width)
    y = (2 * np.arange(rows) + 1) * height // (2 * rows)
    x = (2 * np.arange(columns) + 1) * width // (2 * columns)
    grid = np.meshgrid(y, x, indexing="ij")
    return grid[0].ravel(), grid[1].ravel()
