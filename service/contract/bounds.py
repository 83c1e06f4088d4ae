"""The numbers that callers may send, each bounded once.

What is allowed is far wider than any camera, and far from where arithmetic ends.
"""

from dataclasses import dataclass

from .errors import InvalidArgument


@dataclass(frozen=True)
class Bounds:
    """The numbers from `least` to `most`."""

    least: float
    most: float
    unit: str

    def check(self, name: str, value: float) -> None:
        """Refuse a number beyond the bounds, or one that is none.

        Raises:
            InvalidArgument: With its name, the value and what is expected.
        """
        if not self.least <= value <= self.most:
            raise InvalidArgument(
                f"{name} is {value:g}; expected {self.unit} from {self.least:g} to {self.most:g}"
            )


FIELD_OF_VIEW = Bounds(0.1, 179, "degrees")
FOCAL_LENGTH = Bounds(1e-3, 1e7, "pixels")
IMAGE_POSITION = Bounds(-1e7, 1e7, "pixels")
"""Of a principal point, which may lie outside of the image."""
PIXEL = Bounds(0, 1e7, "pixels")
"""Of an image that is not known yet."""
DISTANCE = Bounds(1e-3, 1e6, "metres")
DEPTH = Bounds(1e-6, 1e9, "units of depth")
"""In whichever unit the depth has."""
PRIORITY = Bounds(-4, 4, "a whole number")
"""Nine levels, as KServe's clients have them; each step up doubles the share."""
MILLISECONDS = Bounds(1e-3, 1e12, "milliseconds")
STEADINESS = Bounds(0, 1, "a weight")
USUAL_STEADINESS = 0.8
"""Of streams and videos."""
WEIGHT = Bounds(0, 1, "a number")
"""Of a media type in `Accept`."""
BYTES = Bounds(0, 2**40, "a whole number")
"""Of a part of a body."""
