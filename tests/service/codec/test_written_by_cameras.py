"""Files whose pixels are whole, and whose surroundings are not what libjpeg and libpng expect."""

import io
import re
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from service.codec.decode import decode_image
from service.contract.errors import ImageTooLarge, InvalidImage

HEIGHT, WIDTH = 96, 128
SCENE = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC
)
_SCAN, _QUANTISATION = b"\xff\xda", b"\xff\xdb"


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def pixels_of(data: bytes, **options: object) -> np.ndarray:
    settings = {"height": HEIGHT, "width": WIDTH, "max_pixels": 1 << 20, "keep_rgb": True} | options
    image = decode_image(data, **settings)  # type: ignore[arg-type]
    return image.pixels if image.rgb is None else image.rgb


# Sequential, with a restart marker after every row of blocks, as cameras on USB write it.
JPEG = encoded(SCENE, "JPEG", quality=90, restart_marker_rows=1)
PNG = encoded(SCENE, "PNG")


def before(mark: bytes, stray: bytes) -> bytes:
    place = JPEG.index(mark)
    return JPEG[:place] + stray + JPEG[place:]


def stray_before_restarts(data: bytes, count: int = 2) -> bytes:
    scan = data.index(_SCAN)
    return data[:scan] + re.sub(rb"\xff[\xd0-\xd7]", lambda found: bytes(count) + found[0], data[scan:])


def scan_parameters_of_zero() -> bytes:
    end = JPEG.index(_SCAN) + 2 + int.from_bytes(JPEG[JPEG.index(_SCAN) + 2 :][:2])
    return JPEG[: end - 3] + bytes(3) + JPEG[end:]


def segment(marker: int, content: bytes) -> bytes:
    return JPEG[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content + JPEG[2:]


WARNED_OF = {
    "stray bytes before restarts": stray_before_restarts(JPEG),
    "one stray byte before restarts": stray_before_restarts(JPEG, 1),
    "stray bytes before the end": JPEG[:-2] + bytes(6) + JPEG[-2:],
    "stray bytes between segments": before(_QUANTISATION, b"\0\0\0"),
    "scan parameters of zero, as Samsung's": scan_parameters_of_zero(),
    "JFIF 2.1": JPEG.replace(b"JFIF\0\1", b"JFIF\0\2"),
    "no end": JPEG[:-2],
    "zeros in the end's place": JPEG[:-2] + bytes(64),
    "an empty JFIF segment": segment(0xE0, b"JFIF\0"),
    "an empty ICC segment": segment(0xE2, b"ICC_PROFILE\0"),
    "an empty Adobe segment": segment(0xEE, b"Adobe"),
    "EXIF that is none": segment(0xE1, b"Exif\0\0not a TIFF file"),
    "all at once": stray_before_restarts(
        scan_parameters_of_zero()
        .replace(b"JFIF\0\1", b"JFIF\0\3")
        .replace(_QUANTISATION, b"\0" + _QUANTISATION, 1)
    ),
}


@pytest.mark.parametrize("fault", WARNED_OF)
@pytest.mark.parametrize(
    "options", [{}, {"keep_rgb": False, "height": 40, "width": 50}], ids=["whole", "fraction"]
)
def test_a_jpeg_of_whole_pixels_is_decoded_whatever_libjpeg_warns_of(
    fault: str, options: dict[str, object]
) -> None:
    assert np.array_equal(pixels_of(WARNED_OF[fault], **options), pixels_of(JPEG, **options))


def decoded_by_pillow(data: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(data)) as file:
            return np.asarray(file.convert("RGB"))
    except OSError:
        return None


@pytest.mark.parametrize("fault", WARNED_OF)
def test_others_decode_the_same_or_nothing(fault: str) -> None:
    own = pixels_of(WARNED_OF[fault]).astype(int)
    opencv = cv2.imdecode(np.frombuffer(WARNED_OF[fault], np.uint8), cv2.IMREAD_COLOR_RGB)
    for theirs in (opencv, decoded_by_pillow(WARNED_OF[fault])):
        assert theirs is None or np.abs(own - theirs).max() <= 8  # by another inverse DCT


MISSING = {
    "half": lambda data: data[: len(data) // 2],
    "half, and an end": lambda data: data[: len(data) // 2] + b"\xff\xd9",
    "a row of blocks": lambda data: data[: data.index(b"\xff\xd2")] + data[data.index(b"\xff\xd3") :],
    "the last row of blocks": lambda data: data[: data.rindex(b"\xff\xd6")] + b"\xff\xd9",
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("fault", WARNED_OF)
def test_a_jpeg_that_misses_pixels_is_refused_whatever_else_is_wrong_with_it(
    fault: str, missing: str
) -> None:
    with pytest.raises(InvalidImage, match="damaged or cut short"):
        pixels_of(MISSING[missing](WARNED_OF[fault]))


def chunk(name: bytes, content: bytes, *, sum_off: int = 0) -> bytes:
    checksum = (zlib.crc32(name + content) + sum_off) % 2**32
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_with(extra: bytes, *, before: bytes = b"IDAT") -> bytes:
    place = PNG.index(before) - 4
    return PNG[:place] + extra + PNG[place:]


LARGE = zlib.compress(bytes(2 << 20))
METADATA = {
    "a text of two megabytes": chunk(b"zTXt", b"a\0\0" + LARGE),
    "an international text of two megabytes": chunk(b"iTXt", b"a\0\1\0\0\0" + LARGE),
    "a profile of two megabytes": chunk(b"iCCP", b"a\0\0" + LARGE),
    "a profile that is none": chunk(b"iCCP", b"none"),
    "EXIF that is none": chunk(b"eXIf", b"none"),
    "a wrong checksum of a text": chunk(b"tEXt", b"a\0b", sum_off=1),
    "a wrong checksum of EXIF": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", sum_off=1),
    "a gamma cut short": chunk(b"gAMA", b"\0"),
    "a resolution cut short": chunk(b"pHYs", b"\0"),
}


@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("kind", METADATA)
def test_a_png_is_decoded_whatever_its_metadata(kind: str, where: bytes) -> None:
    assert np.array_equal(pixels_of(png_with(METADATA[kind], before=where)), SCENE)


@pytest.mark.parametrize("kind", METADATA)
def test_a_png_that_misses_pixels_is_refused_whatever_its_metadata(kind: str) -> None:
    with pytest.raises(InvalidImage, match="damaged or cut short"):
        pixels_of(png_with(METADATA[kind])[: -len(PNG) // 2])


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def with_xmp(kind: str, orientation: int, extra: bytes = b"", **options: object) -> bytes:
    if kind == "PNG":
        place = PNG.index(b"IDAT") - 4
        text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation))
        told = chunk(b"eXIf", options["exif"][6:]) if "exif" in options else b""  # type: ignore[index]
        return PNG[:place] + text + told + extra + PNG[place:]
    return encoded(SCENE, kind, xmp=xmp(orientation), lossless=True, quality=95, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_says_what_is_up_where_exif_does_not(kind: str) -> None:
    assert pixels_of(with_xmp(kind, 6)).shape == (160, 120, 3)
    assert pixels_of(with_xmp(kind, 6, exif=exif(1))).shape == (120, 160, 3)


def test_xmp_is_read_beside_metadata_that_is_faulty() -> None:
    broken = chunk(b"tEXt", b"a\0b", sum_off=1)
    assert pixels_of(with_xmp("PNG", 6, broken)).shape == (160, 120, 3)


def deep_png(pixels: np.ndarray, transparent: bytes) -> bytes:
    """Write 16 bits a value, big-endian, with one value transparent."""
    height, width = pixels.shape[:2]
    kind = 0 if pixels.ndim == 2 else 2
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    parts = (header, chunk(b"tRNS", transparent), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return PNG[:8] + b"".join(parts)


def test_the_transparent_value_of_16_bit_grey_shows_white() -> None:
    grey = np.full((2, 2), 30000, np.uint16)
    grey[0, 0], grey[1, 1] = 1234, 1235
    shown = pixels_of(deep_png(grey, struct.pack(">H", 1234)))
    assert shown[..., 0].tolist() == [[255, 117], [117, 4]]


def test_the_transparent_value_of_16_bit_colours_is_compared_in_all_its_bits() -> None:
    colours = np.full((2, 2, 3), 30000, np.uint16)
    colours[0, 0], colours[1, 1] = (1234, 2345, 3456), (1235, 2346, 3457)
    shown = pixels_of(deep_png(colours, struct.pack(">HHH", 1234, 2345, 3456)))
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[1, 1].tolist() == [4, 9, 13]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_16_bit_grey_of_a_sensor_s_fewer_bits_is_taken_as_it_is_and_said(bits: int) -> None:
    grey = np.full((4, 4), 2**bits - 1, np.uint16)
    image = decode_image(encoded(grey, "PNG"), height=4, width=4, max_pixels=100)
    assert f"no value above {2**bits - 1}, as from {bits} bits" in image.notice
    assert f"multiply its values by {2 ** (16 - bits)} " in image.notice
    assert (image.pixels == (2**bits - 1) >> 8).all()


@pytest.mark.parametrize("most", [0, 1 << 14, 65535])
def test_16_bit_grey_that_is_black_or_uses_its_bits_is_nothing_to_be_said(most: int) -> None:
    grey = np.full((4, 4), most, np.uint16)
    assert not decode_image(encoded(grey, "PNG"), height=4, width=4, max_pixels=100).notice


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_phones_formats_are_decoded_and_turned_upright(kind: str, orientation: int) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra heif")
    stored = SCENE if orientation == 1 else np.rot90(SCENE)
    shown = pixels_of(encoded(np.ascontiguousarray(stored), kind, quality=95, exif=exif(orientation)))
    assert np.abs(shown.astype(int) - SCENE).mean() < 5


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_phones_formats_are_refused_where_cut_short_or_too_large(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra heif")
    data = encoded(SCENE, kind, quality=95)
    with pytest.raises(ImageTooLarge, match="160x120 pixels"):
        pixels_of(data, max_pixels=1000)
    for share in (0.3, 0.7, 0.95):
        with pytest.raises(InvalidImage):
            pixels_of(data[: int(len(data) * share)])


def test_heic_without_its_extra_is_refused_by_the_extra_s_name() -> None:
    code = """
import sys
sys.modules["pillow_heif"] = None
from service.codec.decode import decode_image
try:
    decode_image(bytes((0, 0, 0, 24)) + b"ftypheic" + bytes(40), height=8, width=8, max_pixels=64)
except Exception as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "expected JPEG, PNG, WebP or AVIF; HEIC needs the extra `heif`" in said


def shift_px(photograph: tuple[int, int], network: tuple[int, int], axis: int) -> float:
    """Return by how many of the network's pixels a fraction's stripes lie elsewhere, at an axis' ends."""
    period = 16
    across, seen = photograph[axis], network[axis]
    wave = 128 + 100 * np.cos(2 * np.pi * (np.arange(across) + 0.5) * seen / across / period)
    stripes = np.broadcast_to(wave[:, None] if axis == 0 else wave[None], photograph).round().astype(np.uint8)
    data = encoded(stripes, "JPEG", quality=95)
    shown = decode_image(data, height=network[0], width=network[1], max_pixels=1 << 25).pixels[..., 0]
    line = shown.mean(axis=1 - axis)
    places = np.arange(seen) + 0.5
    ends = (slice(0, 4 * period), slice(seen - 4 * period, seen))
    turns = [np.angle((line[end] * np.exp(-2j * np.pi * places[end] / period)).sum()) for end in ends]
    return float(max(map(abs, turns)) * period / (2 * np.pi))


SIZES = [
    (1537, 5121),
    (385, 1281),
    (767, 2561),
    (193, 641),
    (392, 1300),
    (451, 1287),
    (399, 1999),
    (513, 1283),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_fraction_is_no_more_shifted_than_a_twentieth_of_a_pixel(size: tuple[int, int], axis: int) -> None:
    assert shift_px(size, (96, 320), axis) < 0.05


@pytest.mark.parametrize("more", range(9))
def test_a_fraction_is_not_shifted_where_it_has_nearly_the_network_s_size(more: int) -> None:
    size = (192 + more, 640 + more)
    assert max(shift_px(size, (96, 320), axis) for axis in (0, 1)) < 0.05


def test_what_is_decoded_is_bounded_rather_than_the_photograph() -> None:
    photograph = encoded(np.broadcast_to(SCENE[:1, :1], (800, 1600, 3)), "JPEG")
    options = {"height": 96, "width": 192, "keep_rgb": False}
    assert pixels_of(photograph, max_pixels=800 * 1600 // 8, **options).shape == (96, 192, 3)
    with pytest.raises(ImageTooLarge, match="1600x800 pixels, of which 200x100 would be decoded"):
        pixels_of(photograph, max_pixels=800 * 1600 // 8 - 1, **options)
    with pytest.raises(ImageTooLarge, match="1600x800 would be decoded"):
        pixels_of(photograph, max_pixels=800 * 1600 - 1, keep_rgb=True)


def test_a_progressive_jpeg_counts_whole_because_all_of_it_is_held() -> None:
    photograph = encoded(np.broadcast_to(SCENE[:1, :1], (800, 1600, 3)), "JPEG", progressive=True)
    with pytest.raises(ImageTooLarge):
        pixels_of(photograph, max_pixels=800 * 1600 // 8, height=96, width=192, keep_rgb=False)
