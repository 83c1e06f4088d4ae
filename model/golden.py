"""The golden answer: what the plain network returns for the drawn image, kept to compare others with.

It is stored with a checkpoint or an export. Whatever runs the network later (another library, precision or
device, a file that was damaged meanwhile) has to give it again before anybody is served; `model.drawing`
draws and compares. This module is the record alone, and imports neither torch nor numpy.
"""

import base64
import binascii
import math
from array import array
from dataclasses import dataclass

DRAWING = 1
"""Counted up when the drawn image changes: answers to an older one cannot be compared any more."""
ROWS, COLUMNS = 24, 48
"""Of the pixels that are stored, spread evenly: 1152 values tell as much of a mean as all of them."""


class GoldenError(ValueError):
    """An answer to the drawn image that is not the golden one; the message says how far off it is."""


@dataclass(frozen=True, kw_only=True)
class GoldenAnswer:
    """What the plain network, eager and in float32, returns for the drawn image."""

    height: int
    """Of the drawn image and of the answer, in pixels."""
    width: int
    values: str
    """The answer at evenly spread pixels, row by row: little-endian float32 in base64."""
    drawing: int = DRAWING

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a golden answer is {self.width}x{self.height}; expected at least 1x1")
        try:
            values = array("f", base64.b64decode(self.values, validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"the values of a golden answer are not float32 in base64: {error}") from error
        expected = min(ROWS, self.height) * min(COLUMNS, self.width)
        if self.drawing == DRAWING and len(values) != expected:
            raise ValueError(f"a golden answer holds {len(values)} values; expected {expected}")
        if not (all(map(math.isfinite, values)) and any(values)):
            raise ValueError("the values of a golden answer are not finite, or all zero")
