import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.images import resize_image
from service.codec.decode import DecodedImage, decode_image
from service.contract.errors import ImageTooLarge, InvalidImage
from tests.assets import shared

HEIGHT, WIDTH = 32, 64
RAMP = np.stack(
    np.broadcast_arrays(
        np.linspace(0, 250, 90, dtype=np.uint8)[:, None],
        np.linspace(0, 250, 120, dtype=np.uint8)[None],
        np.uint8(40),
    ),
    axis=-1,
)
"""90 rows, 120 columns; red grows downwards and green to the right."""


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes, **options: object) -> DecodedImage:
    settings = {"height": HEIGHT, "width": WIDTH, "max_pixels": 100_000} | options
    return decode_image(data, **settings)  # type: ignore[arg-type]


def off(image: DecodedImage, expected: np.ndarray) -> float:
    """The mean difference in grey levels."""
    wanted = resize_image(np.ascontiguousarray(expected), HEIGHT, WIDTH)
    return float(np.abs(image.pixels.astype(int) - wanted).mean())


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_lossless_file_gives_its_pixels_resized(kind: str, options: dict[str, object]) -> None:
    image = decode(encoded(Image.fromarray(RAMP), kind, **options))
    assert off(image, RAMP) == 0
    assert (image.height, image.width, image.rgb) == (90, 120, None)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_a_lossy_file_gives_nearly_its_pixels(kind: str, options: dict[str, object]) -> None:
    assert off(decode(encoded(Image.fromarray(RAMP), kind, **options)), RAMP) < 2


def test_pixels_are_taken_as_they_are() -> None:
    image = decode_image(RAMP, height=HEIGHT, width=WIDTH, max_pixels=100_000, keep_rgb=True)
    assert off(image, RAMP) == 0
    assert image.rgb is not None
    assert np.array_equal(image.rgb, RAMP)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photograph_is_turned_upright(kind: str, orientation: int) -> None:
    upright = Image.fromarray(RAMP)
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    image = decode(encoded(stored, kind, exif=exif, **options), keep_rgb=True)
    assert (image.height, image.width) == (90, 120)
    assert off(image, RAMP) < 2
    assert image.rgb is not None
    assert image.rgb.shape == (90, 120, 3)


def test_a_large_jpeg_lying_on_its_side_is_decoded_at_a_fraction_and_turned() -> None:
    large = np.repeat(np.repeat(RAMP, 4, axis=0), 4, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(
        Image.fromarray(large).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95
    )
    image = decode(lying, max_pixels=1_000_000)
    assert (image.height, image.width) == (360, 480)
    assert off(image, large) < 2


def test_grey_becomes_rgb() -> None:
    grey = RAMP[..., 0]
    for kind in ("PNG", "JPEG"):
        assert off(decode(encoded(Image.fromarray(grey), kind)), np.repeat(grey[..., None], 3, 2)) < 1


def test_transparency_shows_white_behind() -> None:
    half = np.dstack([np.zeros((90, 120, 3), np.uint8), np.full((90, 120), 127, np.uint8)])
    for kind in ("PNG", "WEBP"):
        pixels = decode(encoded(Image.fromarray(half), kind, lossless=True)).pixels
        assert np.abs(pixels.astype(int) - 128).max() <= 1


def test_a_palette_with_a_transparent_entry_shows_white_there() -> None:
    image = Image.new("P", (120, 90), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    assert (decode(encoded(image, "PNG", transparency=1)).pixels == 255).all()
    assert (decode(encoded(image, "PNG")).pixels == (200, 0, 0)).all()


def test_16_bit_grey_keeps_its_upper_bits() -> None:
    deep = (RAMP[..., 0].astype(np.uint16) << 8) + 77
    assert off(decode(encoded(Image.fromarray(deep), "PNG")), np.repeat(RAMP[..., :1], 3, 2)) == 0


def test_cmyk_is_converted() -> None:
    cmyk = Image.fromarray(RAMP).convert("CMYK")
    assert off(decode(encoded(cmyk, "JPEG", quality=95)), np.asarray(cmyk.convert("RGB"))) < 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    with pytest.raises(InvalidImage, match=f"an animated {kind}"):
        decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_another_format_is_refused(kind: str) -> None:
    with pytest.raises(InvalidImage, match="expected JPEG, PNG, WebP"):
        decode(encoded(Image.fromarray(RAMP), kind))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [400, 9000, 60000])
def test_more_pixels_than_allowed_are_refused_by_the_header_alone(side: int) -> None:
    with pytest.raises(ImageTooLarge):
        decode(bomb(side))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_of_endless_scans_is_refused(mode: str) -> None:
    data = encoded(Image.fromarray(RAMP).convert(mode), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(InvalidImage, match="more than 64 scans"):
        decode(data[:-2] + 64 * last + data[-2:])


def test_what_follows_a_jpeg_does_not_count_among_its_scans() -> None:
    data = encoded(Image.fromarray(RAMP), "JPEG", progressive=True, quality=95)
    alone = decode(data)
    with_video = decode(data + 100 * b"\xff\xda\x00\x08")
    assert np.array_equal(with_video.pixels, alone.pixels)


def test_pixels_beyond_the_cap_are_refused() -> None:
    with pytest.raises(ImageTooLarge, match="120x90 pixels; expected at most 10000"):
        decode_image(RAMP, height=HEIGHT, width=WIDTH, max_pixels=10_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_file_cut_short_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InvalidImage):
        decode(whole[: int(len(whole) * share)])


@given(st.binary(max_size=200))
def test_bytes_that_are_no_image_are_refused_without_an_echo(data: bytes) -> None:
    with pytest.raises(InvalidImage) as caught:
        decode(data)
    assert caught.value.message.startswith("the ")


@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_byte_gives_an_image_or_our_own_error(kind: str, place: int, change: int) -> None:
    data = bytearray(encoded(Image.fromarray(RAMP), kind))
    data[place % len(data)] ^= change
    try:
        image = decode(bytes(data))
    except (InvalidImage, ImageTooLarge):
        return
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)


def test_a_fraction_of_a_real_photograph_is_within_three_grey_levels_of_the_whole() -> None:
    data = shared("data/kitti_odometry/sequences/04/image_2/000000.jpg").read_bytes()
    options = {"height": 96, "width": 320, "max_pixels": 10_000_000}
    whole = decode_image(data, scaled=False, **options).pixels.astype(int)  # type: ignore[arg-type]
    fraction = decode_image(data, scaled=True, **options).pixels.astype(int)  # type: ignore[arg-type]
    assert 0 < np.abs(whole - fraction).mean() < 3
