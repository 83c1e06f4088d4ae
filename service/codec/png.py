"""PNG files written fast: one filter in numpy, and a deflate that was made for speed.

Depth changes little from row to row, so the Up filter (each byte less the one above it: PNG specification,
section 9.2) leaves small numbers, which the quickest deflate packs as well as a slow one packs the depth.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2
_GREY, _RGB = 0, 2
_LEVEL = 1


_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def encode_png(pixels: np.ndarray, texts: Mapping[str, str] = _NO_TEXTS) -> bytes:
    """Return a PNG file of uint16 (height, width) grey or uint8 (height, width, 3) RGB pixels.

    Args:
        pixels: The picture.
        texts: What the file says beside it: Latin words by short names (tEXt: PNG specification, 11.3.3.2).

    Raises:
        ValueError: They are something else, or there are none.
    """
    if pixels.size == 0:
        raise ValueError(f"pixels have the shape {pixels.shape}; expected at least one")
    if pixels.dtype == np.uint16 and pixels.ndim == 2:
        depth, kind = 16, _GREY
        rows = np.ascontiguousarray(pixels, ">u2").view(np.uint8)
    elif pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        depth, kind = 8, _RGB
        rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    else:
        raise ValueError(
            f"pixels are {pixels.dtype} of the shape {pixels.shape}; "
            "expected uint16 (height, width) or uint8 (height, width, 3)"
        )
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    packed = isal_zlib.compress(_filtered(rows), _LEVEL)
    chunks = [_chunk(b"IHDR", header)]
    chunks += (_chunk(b"tEXt", f"{name}\0{text}".encode("latin-1")) for name, text in texts.items())
    chunks += (_chunk(b"IDAT", packed), _chunk(b"IEND", b""))
    return b"".join((_SIGNATURE, *(piece for chunk in chunks for piece in chunk)))


def _filtered(rows: np.ndarray) -> np.ndarray:
    """Put each row's filter before it, and take the row above from it, modulo 256."""
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(name: bytes, content: bytes) -> tuple[bytes, ...]:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(name))
    return struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)
