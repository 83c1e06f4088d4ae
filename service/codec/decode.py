"""Untrusted photographs to upright RGB pixels at the network's size.

Format and size are read from the header and refused there, before a pixel is decoded.
"""

import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from model.images import check_image, resize_image
from model.view import View
from service.codec.bare import SCAN, has_every_restart, jpeg_segments, without_surroundings
from service.codec.cameras import Camera
from service.codec.exif import ExifLens, exif_lens
from service.codec.rectify import rectify_image
from service.codec.scale import KnownDepths
from service.contract.errors import ImageTooLarge, InvalidImage
from service.contract.request import Intrinsics

try:
    import pillow_heif
except ImportError:  # the extra `heif`
    pillow_heif = None  # type: ignore[assignment]
else:
    pillow_heif.register_heif_opener(thumbnails=False)

# Ours is the bound that counts: Pillow would warn, and refuse, by one of its own.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", *(("HEIF",) if pillow_heif else ()))
EXPECTED = "JPEG, PNG, WebP or AVIF" if pillow_heif is None else "JPEG, PNG, WebP, AVIF or HEIC"
"""What this installation reads."""
_HEIC = re.compile(rb"....ftyp(?:hei[cxms]|hev[cxm]|mif1|msf1)", re.DOTALL)
_WHITE = (255, 255, 255)
_SENSOR_BITS = (8, 10, 12, 14)
_PNG_DEPTH = 24
"""Where a PNG says how many bits a value has."""
_SIXTEEN_BITS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

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
BeforeDecoding = Callable[[int, int, int], None]
"""Called with a photograph's height and width, and with the bytes that decoding it holds at most."""
_SCAN_BYTES, _SCANS_BYTES, _FILE_BYTES = 6, 10, 20
"""What decoding holds for each pixel: of a JPEG in one scan, of one in several, of any other file."""
_STRIP_ROWS = 256
_EIGHTHS = 8
"""libjpeg decodes at so many eighths of the size."""
UNDECODED_SHARE = 8
"""A JPEG's pixels that are not decoded count for an eighth of one that is: their bits are still read."""
_STRAY = re.compile(r"extraneous bytes before marker 0xd[0-79]")
"""What libjpeg says of bytes before a restart, or before the end."""

# What readers raise for bytes that are not what they claim.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    KeyError,
    OverflowError,
)


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
    lens: Intrinsics | None = None
    """That its EXIF data names."""
    known: KnownDepths | None = None
    """What a sparse depth image says of it."""
    notice: str = ""
    """What is odd about it, in a sentence; empty where nothing is."""
    prepared: np.ndarray | None = None
    """The network's input, where that is not `pixels` but what a description makes of the photograph."""

    @property
    def seen(self) -> np.ndarray:
        """The network's input."""
        return self.pixels if self.prepared is None else self.prepared

    @property
    def nbytes(self) -> int:
        """Of its pixels."""
        return sum(held.nbytes for held in (self.pixels, self.rgb, self.prepared) if held is not None)


def decode_image(
    image: bytes | np.ndarray,
    *,
    height: int,
    width: int,
    max_pixels: int,
    keep_rgb: bool = False,
    scaled: bool = True,
    before: BeforeDecoding = lambda height, width, most_bytes: None,
    camera: Camera | None = None,
    view: View | None = None,
) -> DecodedImage:
    """Decode a photograph and resize it to the network's size.

    Grey becomes RGB, 16 bits become 8, transparency shows white behind, CMYK is converted. What is up is said
    by EXIF or, where that says nothing, by XMP. A JPEG of at least twice the network's size is decoded at the
    smallest fraction that is not below it: quicker, and 2.4 grey levels off on average, on a street at a
    quarter of its size.

    Args:
        image: A file's bytes, or RGB pixels.
        height: The network's, in pixels.
        width: Likewise.
        max_pixels: More than these are not decoded. A JPEG at a fraction may have up to eight times as many.
        keep_rgb: Whether the photograph is wanted at its own size, too.
        scaled: Whether JPEGs may be decoded at a fraction.
        before: Called once the size is known, before any pixel is decoded; what it raises is passed on.
        camera: That took it: where its lens distorts, the picture is made straight.
        view: Makes the network's input of the photograph at its own size, and says at which size it sees it.

    Raises:
        InvalidImage: The bytes are no such image, or not a whole one, or one that the network cannot see.
        ImageTooLarge: It has too many pixels.
        InvalidArgument: It is none of the camera's.
    """
    notice, found = "", ExifLens()
    if isinstance(image, np.ndarray):
        rgb = _checked_pixels(image, max_pixels)
        original = rgb.shape[:2]
        before(original[0], original[1], 2 * rgb.nbytes)
    else:
        target = None if keep_rgb or not scaled or view is not None else (height, width)
        rgb, original, notice, found = _decode_file(image, max_pixels, target, before)
    if camera is not None and camera.distorts:
        rgb = rectify_image(np.ascontiguousarray(rgb), camera, *original)
    rgb, prepared = np.ascontiguousarray(rgb), None
    if view is not None:
        try:
            (height, width), prepared = view.size(*rgb.shape[:2]), view.prepare(rgb)
        except ValueError as error:
            raise InvalidImage(str(error)) from None
    return DecodedImage(
        pixels=np.ascontiguousarray(resize_image(rgb, height, width)),
        prepared=prepared,
        height=original[0],
        width=original[1],
        rgb=rgb if keep_rgb else None,
        lens=found.lens,
        notice="; ".join(filter(None, (notice, found.notice))),
    )


def _checked_pixels(image: np.ndarray, max_pixels: int) -> UInt8[np.ndarray, "height width 3"]:
    try:
        check_image(image)
    except ValueError as error:
        raise InvalidImage(str(error)) from None
    _check_size(image.shape[1], image.shape[0], max_pixels)
    return image


_Upright = tuple[UInt8[np.ndarray, "rows columns 3"], tuple[int, int], str, ExifLens]


def _decode_file(
    data: bytes, max_pixels: int, target: tuple[int, int] | None, before: BeforeDecoding
) -> _Upright:
    """Return upright pixels, of the target's size if at a fraction; the upright size, notice, lens."""
    with _reading(data):
        try:
            return _decode_strictly(data, max_pixels, target, before)
        except _BROKEN:
            bare = without_surroundings(data)
            if bare is None:
                raise
            return _decode_strictly(bare, max_pixels, target, before)


def _decode_strictly(
    data: bytes, max_pixels: int, target: tuple[int, int] | None, before: BeforeDecoding
) -> _Upright:
    notice = ""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        # A phone's JPEG or HEIC may carry further pictures, which are no animation.
        if file.format in ("PNG", "WEBP", "AVIF") and getattr(file, "is_animated", False):
            raise InvalidImage(f"an animated {file.format} is not a photograph; expected one picture")
        is_jpeg = file.format in ("JPEG", "MPO")
        if not is_jpeg or file.mode not in ("RGB", "L"):
            # Before the orientation: to find it, Pillow reads a PNG to its end, and so decodes it.
            _check_size(file.width, file.height, max_pixels)
            before(file.height, file.width, file.width * file.height * _FILE_BYTES)
        orientation = _orientation(file)
        lying = orientation in _LYING
        size = (file.width, file.height) if lying else (file.height, file.width)
        if is_jpeg:
            scans = _count_scans(data)
            if file.mode in ("RGB", "L"):
                # Several scans are kept whole until the last of them is read.
                fraction = None if scans > 1 or target is None else target[::-1] if lying else target
                each = _SCANS_BYTES if scans > 1 else _SCAN_BYTES
                pixels = _decode_jpeg(
                    data,
                    file.height,
                    file.width,
                    fraction,
                    max_pixels,
                    lambda count: before(*size, count * each),
                )
            else:
                pixels = _with_pillow(file)
        else:
            is_keyed = file.format == "PNG" and "transparency" in file.info
            if is_keyed and data[_PNG_DEPTH] == 16:
                pixels = _keyed_16_bits(data, file.info["transparency"])
            else:
                pixels = _with_pillow(file)
            if file.mode.startswith("I"):
                notice = _notice_of_deep_grey(np.asarray(file))
        found = _lens(file, lying=lying)
    upright = _ORIENTATIONS.get(orientation)
    return (pixels if upright is None else upright(pixels)), size, notice, found


def _lens(file: Image.Image, *, lying: bool) -> ExifLens:
    """Return what EXIF says of the lens; nothing where it cannot be read."""
    try:
        return exif_lens(file.getexif(), file.width, file.height, lying=lying)
    except _BROKEN:
        return ExifLens()


def _orientation(file: Image.Image) -> int:
    """Return the number that EXIF says, else XMP; 1 where neither can be read."""
    try:
        number: int = file.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        return 1
    return number


def _count_scans(data: bytes) -> int:
    """Walk from marker to marker; what hangs behind the picture, as phones' videos do, is not looked at."""
    scans = 0
    for marker, _ in jpeg_segments(data):
        scans += marker == SCAN
        if scans > _MOST_SCANS:
            raise InvalidImage(f"the JPEG has more than {_MOST_SCANS} scans; expected what encoders write")
    return scans


def _decode_jpeg(
    data: bytes,
    height: int,
    width: int,
    target: tuple[int, int] | None,
    max_pixels: int,
    before: Callable[[int], None],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Decode whole; or, where the target allows a half or less, at a fraction and then to the target's size.

    libjpeg rounds a fraction's size up, so that the last row and column reach beyond the photograph. The
    resize leaves out what does, else everything would shift.
    """
    eighths = _EIGHTHS if target is None else _fraction(height, width, target)
    rows, columns = (-(-side * eighths // _EIGHTHS) for side in (height, width))
    if max(rows * columns, height * width // UNDECODED_SHARE) > max_pixels:
        raise ImageTooLarge(
            f"the image has {width}x{height} pixels, of which {columns}x{rows} would be decoded; "
            f"expected at most {max_pixels} of these, and {UNDECODED_SHARE} times as many in all"
        )
    before(rows * columns)
    least = (0, 0) if eighths == _EIGHTHS else (rows, columns)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1])
    except ValueError as error:
        if not (_STRAY.search(str(error)) and has_every_restart(data)):
            raise
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1], strict=False)
    if target is None or eighths == _EIGHTHS:
        return pixels
    across, down = target[1] * _EIGHTHS / (width * eighths), target[0] * _EIGHTHS / (height * eighths)
    resized = cv2.resize(pixels, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
    return resized[: target[0], : target[1]]


def _fraction(height: int, width: int, target: tuple[int, int]) -> int:
    """Return in how many eighths of its size a JPEG is decoded."""
    if height < 2 * target[0] or width < 2 * target[1]:
        return _EIGHTHS
    return next(
        eighths
        for eighths in range(1, _EIGHTHS + 1)
        if height * eighths >= _EIGHTHS * target[0]
        and width * eighths >= _EIGHTHS * target[1]
        and not _is_copied(height * eighths / _EIGHTHS, target[0], width * eighths / _EIGHTHS, target[1])
    )


def _is_copied(rows: float, height: int, columns: float, width: int) -> bool:
    """Whether OpenCV would copy an image whose last row or column is a part of one, rather than resize it."""
    sides = ((rows, height), (columns, width))
    return all(round(math.ceil(now) * wanted / now) == math.ceil(now) for now, wanted in sides) and any(
        now != wanted for now, wanted in sides
    )


def _with_pillow(file: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Convert strip by strip: what a conversion holds besides is then small."""
    pixels = np.empty((file.height, file.width, 3), np.uint8)
    for top in range(0, file.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, file.height)
        pixels[top:bottom] = _converted(file.crop((0, top, file.width, bottom)))
    return pixels


def _converted(file: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
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


def _notice_of_deep_grey(values: np.ndarray) -> str:
    """Say where 16-bit grey holds a sensor's fewer bits as they are: it is then all but black."""
    most = int(values.max())
    bits = next((bits for bits in _SENSOR_BITS if most < 1 << bits), 16)
    if not most or bits == 16:
        return ""
    return (
        f"this 16-bit grey image has no value above {most}, as from {bits} bits, and was taken for as dark "
        f"as that is; multiply its values by {1 << 16 - bits} if they mean more"
    )


def _keyed_16_bits(data: bytes, transparent: int | tuple[int, ...]) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a PNG of 16 bits one of whose values is transparent: Pillow compares its upper 8 bits alone."""
    blue_green_red = cv2.imdecode(np.frombuffer(data, np.uint8), _SIXTEEN_BITS)
    if blue_green_red is None:
        raise ValueError
    values = blue_green_red[..., ::-1].astype(np.uint16, copy=False)
    opaque = (values != np.asarray(transparent)).any(axis=-1, keepdims=True)
    return np.where(opaque, values >> 8, 255).astype(np.uint8)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels; expected at most {max_pixels} in all")


@contextmanager
def _reading(data: bytes) -> Iterator[None]:
    """Turn what decoders raise into our errors, without their words: those may echo the bytes."""
    try:
        yield
    except UnidentifiedImageError:
        needs = ""
        if pillow_heif is None and _HEIC.match(data):
            needs = "; HEIC needs the extra `heif` of the service's package"
        raise InvalidImage(f"the bytes are no image that we read; expected {EXPECTED}{needs}") from None
    except _BROKEN:
        raise InvalidImage("the image is damaged or cut short, and cannot be decoded") from None
