"""Pictures as callers have them, as the bytes of a file.

What is a file already is sent as it is. Pixels become PNG, without loss, or JPEG where asked for.
"""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from depth_client.errors import InvalidArgument

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2
"""PNG's filter: each row less the row above it."""


@runtime_checkable
class Frame(Protocol):
    """Anything that carries a picture, such as a frame of a video."""

    @property
    def image(self) -> bytes | npt.NDArray[np.uint8]:
        """A file's bytes, or pixels."""
        ...


Picture: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | npt.NDArray[Any] | Frame"
"""A JPEG, PNG, WebP or AVIF file by its bytes or path; or RGB or grey, uint8 of (height, width[, 3])."""


def image_bytes(picture: Picture, *, jpeg_quality: int | None = None) -> bytes:
    """Return a picture as a file has it.

    Args:
        picture: In any of its forms.
        jpeg_quality: Of pixels, from 1 to 100; PNG, without loss, where None.

    Raises:
        InvalidArgument: It is no picture; or JPEG was asked for, and Pillow is not installed.
        OSError: The file cannot be read.
    """
    if isinstance(picture, Frame):
        picture = picture.image
    if isinstance(picture, np.ndarray):
        _check(picture)
        return encode_png(picture) if jpeg_quality is None else encode_jpeg(picture, jpeg_quality)
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if path.is_dir():
            raise InvalidArgument(
                f"{path} is a folder; expected one picture, or stream(folder({str(path)!r})) "
                "for all that it holds"
            )
        return path.read_bytes()
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    raise InvalidArgument(
        f"a picture is of type {type(picture).__name__}; expected a path, bytes or a uint8 array"
    )


def encode_png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """Return grey or RGB pixels of 8 or 16 bits as PNG: quick rather than small."""
    height, width = pixels.shape[:2]
    bits = 8 * pixels.dtype.itemsize
    big_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    rows = big_endian.reshape(height, -1).view(np.uint8)
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    colour_type = 0 if pixels.ndim == 2 else 2
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), level=1)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def encode_jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return 8-bit grey or RGB pixels as JPEG.

    Raises:
        InvalidArgument: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidArgument("JPEG of pixels needs Pillow; expected it by pip install pillow") from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _check(pixels: npt.NDArray[Any]) -> None:
    is_grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not pixels.size or not (is_grey or pixels.shape[2:] == (3,)):
        raise InvalidArgument(
            f"pixels are {pixels.dtype} of {pixels.shape}; expected uint8 of (height, width[, 3])"
        )
