"""Photographs whose distance can be computed in the head, for the simulated backend."""

import io

from PIL import Image

METRES_PER_UNIT = 2.0


def green(level: int, size: tuple[int, int] = (48, 32)) -> bytes:
    """A picture of one green, from 0 to 255."""
    file = io.BytesIO()
    Image.new("RGB", size, (90, level, 90)).save(file, "PNG")
    return file.getvalue()


def metres(level: int) -> float:
    """What the service answers for it."""
    return METRES_PER_UNIT * 256 / (1 + level)
