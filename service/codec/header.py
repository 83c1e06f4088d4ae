"""What a photograph's first bytes claim of it, for estimates alone: nothing is decoded or checked."""

import numpy as np

_MOST_SEGMENTS = 64
"""Of a JPEG that are looked at before its size; cameras write fewer than ten."""
_PIXELS_A_BYTE, _MOST_PIXELS_A_BYTE = 4, 64
"""Of a JPEG of good quality, where the size is not found; and of nearly empty pictures: a larger claim costs
its sender nothing, and must cost nobody else anything."""
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Markers between SOF0 and SOF15 that begin no frame (ITU-T T.81, table B.1)."""


def container(image: bytes | np.ndarray) -> str:
    """Name what holds the pixels: ``jpeg``, ``png``, ``webp``, ``pixels`` or ``other``."""
    if isinstance(image, np.ndarray):
        return "pixels"
    if image.startswith(b"\xff\xd8"):
        return "jpeg"
    if image.startswith(b"\x89PNG"):
        return "png"
    return "webp" if image[8:12] == b"WEBP" else "other"


def claimed_pixels(image: bytes | np.ndarray) -> int:
    """Return how many pixels an image claims to have; a guess from its length where it does not say."""
    if isinstance(image, np.ndarray):
        return image.size // 3
    find = {"jpeg": _jpeg, "png": _png, "webp": _webp}.get(container(image))
    claimed = 0 if find is None else find(image)
    return min(claimed or _PIXELS_A_BYTE * len(image), _MOST_PIXELS_A_BYTE * len(image))


def _jpeg(image: bytes) -> int:
    place = 2
    for _ in range(_MOST_SEGMENTS):
        marker, length = image[place + 1 : place + 2], _big(image, place + 2, 2)
        if marker and 0xC0 <= marker[0] <= 0xCF and marker[0] not in _NO_FRAME:
            return _big(image, place + 5, 2) * _big(image, place + 7, 2)
        place += 2 + length
    return 0


def _png(image: bytes) -> int:
    return _big(image, 16, 4) * _big(image, 20, 4)


def _webp(image: bytes) -> int:
    kind = image[12:16]
    if kind == b"VP8X":
        return (1 + _little(image, 24, 3)) * (1 + _little(image, 27, 3))
    if kind == b"VP8L":
        sizes = _little(image, 21, 4)
        return (1 + (sizes & 0x3FFF)) * (1 + (sizes >> 14 & 0x3FFF))
    return (_little(image, 26, 2) & 0x3FFF) * (_little(image, 28, 2) & 0x3FFF)


def _big(image: bytes, place: int, size: int) -> int:
    return int.from_bytes(image[place : place + size], "big")


def _little(image: bytes, place: int, size: int) -> int:
    return int.from_bytes(image[place : place + size], "little")
