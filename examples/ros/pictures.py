"""Pictures in ROS messages as the client takes them: pixels, or the bytes of a file as they are."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from depth_client.images import encode_png

from .conversions import UnfitMessage

Size = tuple[int, int]
"""Height and width, in pixels."""
Pixels = npt.NDArray[np.uint8]

_CHANNELS = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "8UC3": (3, [2, 1, 0]),
    "mono8": (1, [0]),
    "8UC1": (1, [0]),
}
"""Bytes of a pixel, and which of them are red, green and blue."""
_DEEP = ("mono16",)
_PACKED = {
    "yuv422": "COLOR_YUV2RGB_UYVY",
    "uyvy": "COLOR_YUV2RGB_UYVY",
    "yuv422_yuy2": "COLOR_YUV2RGB_YUY2",
    "yuyv": "COLOR_YUV2RGB_YUY2",
}
"""Two bytes a pixel, colours shared by two pixels: ROS's names, old and new, and OpenCV's."""
_PLANAR = {"nv21": "COLOR_YUV2RGB_NV21", "nv12": "COLOR_YUV2RGB_NV12"}
"""A plane of grey, then one of colours at half its height."""
_MOSAICS = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
"""OpenCV names a mosaic by the second row's second and third pixels, ROS by its first four."""
_BAYER = {
    f"bayer_{ours}{bits}": f"COLOR_Bayer{theirs}2RGB" for ours, theirs in _MOSAICS.items() for bits in (8, 16)
}
_KINDS = ("jpeg", "jpg", "png", "webp", "avif")
"""Of compressed pictures, as formats name them."""
ENCODINGS = (*_CHANNELS, *_DEEP, *_PACKED, *_PLANAR, *_BAYER)

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers whose segments say a JPEG's size (ITU-T T.81, B.2.2)."""


def picture_of(message: Any) -> tuple[bytes | Pixels, Size | None]:
    """Return an Image's pixels as RGB or grey, or a CompressedImage's bytes as they are; and the size.

    Grey of 16 bits becomes a PNG file, which keeps them. The size of a file that is neither JPEG nor PNG is
    None.

    Raises:
        UnfitMessage: It is in an encoding that is not read here, shorter than it says, or no picture.
    """
    if not hasattr(message, "encoding"):
        data = bytes(message.data)
        _check_format(message.format, data)
        return data, _size_of(data)
    encoding, size = message.encoding, (int(message.height), int(message.width))
    if encoding in _CHANNELS:
        channels, order = _CHANNELS[encoding]
        pixels = _rows(message, channels).reshape(*size, channels)[..., order]
        return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels), size
    if encoding in _DEEP:
        return encode_png(_deep(message)), size
    if encoding in _BAYER:
        mosaic = _deep(message) >> 8 if encoding.endswith("16") else _rows(message, 1)
        return _converted(mosaic.astype(np.uint8), _BAYER[encoding]), size
    if encoding in _PACKED:
        return _converted(_rows(message, 2).reshape(*size, 2), _PACKED[encoding]), size
    if encoding in _PLANAR:
        return _converted(_rows(message, 1, height=size[0] * 3 // 2), _PLANAR[encoding]), size
    raise UnfitMessage(f"the encoding is {encoding!r}; expected one of {', '.join(ENCODINGS)}")


def _rows(message: Any, pixel_bytes: int, *, height: int | None = None) -> Pixels:
    """Return the bytes of a picture's rows, without what stands behind each."""
    height = int(message.height) if height is None else height
    width, step = int(message.width), int(message.step)
    data = np.frombuffer(message.data, np.uint8)
    if step < width * pixel_bytes or len(data) < step * height:
        raise UnfitMessage(
            f"{len(data)} bytes in rows of {step} are no {message.encoding} picture of "
            f"{width}x{message.height}"
        )
    return data[: step * height].reshape(height, step)[:, : width * pixel_bytes]


def _deep(message: Any) -> npt.NDArray[np.uint16]:
    order = ">u2" if message.is_bigendian else "<u2"
    return np.ascontiguousarray(_rows(message, 2)).view(order).astype(np.uint16)


def _converted(stored: Pixels, conversion: str) -> Pixels:
    try:
        import cv2
    except ImportError as error:
        raise UnfitMessage("YUV and Bayer pictures need OpenCV, as cv_bridge brings it") from error
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(stored), getattr(cv2, conversion)), np.uint8)
    except cv2.error as error:
        raise UnfitMessage(f"a picture of {stored.shape} cannot be converted: {error.err}") from error


def _check_format(told: str, data: bytes) -> None:
    if "compressedDepth" in told:
        raise UnfitMessage(f"the format is {told!r}; expected a picture, not depth")
    if not any(kind in told.lower() for kind in _KINDS) and not data.startswith((b"\xff\xd8", b"\x89PNG")):
        raise UnfitMessage(f"the format is {told!r}; expected one of {', '.join(_KINDS)}")


def _size_of(data: bytes) -> Size | None:
    """Return the size that a JPEG's or PNG's header says."""
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    place = 2
    while data.startswith(b"\xff\xd8") and place + 9 <= len(data):
        if data[place] != 0xFF:  # filling, or stray bytes
            place += 1
        elif data[place + 1] in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return height, width
        elif data[place + 1] == 0xFF:
            place += 1
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None
