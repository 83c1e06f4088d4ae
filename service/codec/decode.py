"""Photographs from strangers to upright RGB pixels at the network's size.

Format and size are read from the header and refused there, before a pixel is decoded. It does not know which
network asks, or what becomes of the pixels.
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from model.images import check_image, resize_image
from service.errors import ImageTooLarge, InvalidImage

_FORMATS = ("JPEG", "PNG", "WEBP")
_EXPECTED = "JPEG, PNG or WebP"
_WHITE = (255, 255, 255)

_ORIENTATIONS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
"""What makes an image upright, by the number in its EXIF data (JEITA CP-3451, tag 0x0112); 1 is upright."""
_LYING = (5, 6, 7, 8)
"""Orientations that swap width and height."""

_MOST_SCANS = 64
"""Of a JPEG. Each is a pass over all pixels, for which a dozen bytes suffice; encoders write ten or so."""
_SCAN = 0xDA
_END = 0xD9
_ALONE = (0x01, 0xD8)
"""Markers that no segment follows."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""What ends a scan's data: neither a stuffed byte, nor a restart, nor filling (ITU-T T.81, B.1.1)."""

# What Pillow's readers raise for bytes that are not what they claim.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """A photograph as the network sees it, and as the caller does."""

    pixels: UInt8[np.ndarray, "model_height model_width 3"]
    """Upright RGB at the network's size."""
    height: int
    """Of the upright photograph, in pixels."""
    width: int
    rgb: UInt8[np.ndarray, "height width 3"] | None = None
    """The upright photograph itself, where it was asked for."""


def decode_image(
    image: bytes | np.ndarray,
    *,
    height: int,
    width: int,
    max_pixels: int,
    keep_rgb: bool = False,
    scaled: bool = True,
) -> DecodedImage:
    """Decode a photograph and resize it to the network's size.

    Grey becomes RGB, 16 bits become 8, transparency shows white behind, CMYK is converted. A JPEG of at least
    twice the network's size is decoded at the smallest fraction that is not below it: quicker, and 2.4 grey
    levels off on average, on a street at a quarter of its size.

    Args:
        image: A file's bytes, or RGB pixels.
        height: The network's, in pixels.
        width: Likewise.
        max_pixels: More than these are refused.
        keep_rgb: Whether the photograph is wanted at its own size, too.
        scaled: Whether JPEGs may be decoded at a fraction.

    Raises:
        InvalidImage: The bytes are no such image, or not a whole one.
        ImageTooLarge: It has too many pixels.
    """
    if isinstance(image, np.ndarray):
        rgb = _checked_pixels(image, max_pixels)
        original = rgb.shape[:2]
    else:
        target = None if keep_rgb or not scaled else (height, width)
        rgb, original = _decode_file(image, max_pixels, target)
    return DecodedImage(
        pixels=np.ascontiguousarray(resize_image(np.ascontiguousarray(rgb), height, width)),
        height=original[0],
        width=original[1],
        rgb=np.ascontiguousarray(rgb) if keep_rgb else None,
    )


def _checked_pixels(image: np.ndarray, max_pixels: int) -> UInt8[np.ndarray, "height width 3"]:
    try:
        check_image(image)
    except ValueError as error:
        raise InvalidImage(str(error)) from None
    _check_size(image.shape[1], image.shape[0], max_pixels)
    return image


def _decode_file(
    data: bytes, max_pixels: int, target: tuple[int, int] | None
) -> tuple[UInt8[np.ndarray, "height width 3"], tuple[int, int]]:
    """Return upright pixels, perhaps at a fraction of the size, and the upright photograph's size."""
    with _reading(), Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        _check_size(file.width, file.height, max_pixels)
        # A phone's JPEG may carry further pictures, which are no animation.
        if file.format in ("PNG", "WEBP") and getattr(file, "is_animated", False):
            raise InvalidImage(f"an animated {file.format} is not a photograph; expected one picture")
        is_jpeg = file.format in ("JPEG", "MPO")
        if is_jpeg:
            _check_scans(data)
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
        lying = orientation in _LYING
        if is_jpeg and file.mode in ("RGB", "L"):
            pixels = _decode_jpeg(data, file.height, file.width, target[::-1] if target and lying else target)
        else:
            pixels = _with_pillow(file)
        size = (file.width, file.height) if lying else (file.height, file.width)
    upright = _ORIENTATIONS.get(orientation)
    return (pixels if upright is None else upright(pixels)), size


def _check_scans(data: bytes) -> None:
    """Walk from marker to marker; what hangs behind the picture, as phones' videos do, is not looked at."""
    scans, place = 0, 0
    while found := _MARKER.search(data, place):
        marker, place = data[found.end() - 1], found.end()
        if marker == _END:
            return
        scans += marker == _SCAN
        if scans > _MOST_SCANS:
            raise InvalidImage(f"the JPEG has more than {_MOST_SCANS} scans; expected what encoders write")
        if marker not in _ALONE:
            place += int.from_bytes(data[place : place + 2])


def _decode_jpeg(
    data: bytes, height: int, width: int, target: tuple[int, int] | None
) -> UInt8[np.ndarray, "height width 3"]:
    """Decode, in the DCT domain at a fraction where the target allows a half or less."""
    least = (0, 0)
    if target is not None and height >= 2 * target[0] and width >= 2 * target[1]:
        least = target
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1])
    return pixels


def _with_pillow(file: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    if file.mode.startswith("I"):
        # 16-bit grey: Pillow would clip it to 255 rather than scale it.
        grey = (np.asarray(file).astype(np.uint32).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if file.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in file.info:
        layered = file.convert("RGBA")
        flat = Image.new("RGBA", layered.size, _WHITE)
        flat.alpha_composite(layered)
        return np.asarray(flat.convert("RGB"))
    return np.asarray(file.convert("RGB"))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels; expected at most {max_pixels} in all")


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what decoders raise into our errors, without their words: those may echo the bytes."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ImageTooLarge("the image's header claims more pixels than any that we read") from None
    except UnidentifiedImageError:
        raise InvalidImage(f"the bytes are no image that we read; expected {_EXPECTED}") from None
    except _BROKEN:
        raise InvalidImage("the image is damaged or cut short, and cannot be decoded") from None
