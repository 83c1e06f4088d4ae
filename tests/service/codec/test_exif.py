"""The lens that a photograph names."""

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from service.codec import decode_image
from service.codec.decode import DecodedImage

WIDTH, HEIGHT = 120, 80
BASE = ExifTags.Base


def photograph(tags: dict[int, Any], *, orientation: int = 1, form: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[BASE.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif).update(tags)
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(file, form, exif=exif)
    return file.getvalue()


def decoded(tags: dict[int, Any], **how: Any) -> DecodedImage:
    return decode_image(photograph(tags, **how), height=64, width=96, max_pixels=10**6)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_35_mm_equivalent_has_the_diagonal_of_film(form: str) -> None:
    lens = decoded({BASE.FocalLengthIn35mmFilm: 26}, form=form).lens
    assert lens is not None
    assert lens.fx_px == lens.fy_px == pytest.approx(26 * math.hypot(WIDTH, HEIGHT) / math.hypot(36, 24))
    assert (lens.cx_px, lens.cy_px) == (WIDTH / 2, HEIGHT / 2)


def test_heic_says_it_alike() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[BASE.FocalLengthIn35mmFilm] = 26
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (WIDTH, HEIGHT))).save(file, exif=exif.tobytes())
    heic = decode_image(file.getvalue(), height=64, width=96, max_pixels=10**6).lens
    assert heic == decoded({BASE.FocalLengthIn35mmFilm: 26}).lens


def test_a_sensor_s_pixels_say_it_where_there_is_no_equivalent() -> None:
    tags = {
        BASE.FocalLength: 4.0,
        BASE.FocalPlaneXResolution: 500.0,
        BASE.FocalPlaneYResolution: 250.0,
        BASE.FocalPlaneResolutionUnit: 3,
    }
    upright, lying = decoded(tags).lens, decoded(tags, orientation=6).lens
    assert upright is not None
    assert lying is not None
    assert (upright.fx_px, upright.fy_px) == pytest.approx((200, 100))
    assert (lying.fx_px, lying.fy_px) == pytest.approx((100, 200))
    assert (lying.cx_px, lying.cy_px) == (HEIGHT / 2, WIDTH / 2)


def test_a_photograph_that_was_made_smaller_has_fewer_pixels_on_a_millimetre() -> None:
    tags = {
        BASE.FocalLength: 4.0,
        BASE.FocalPlaneXResolution: 1000.0,
        BASE.FocalPlaneResolutionUnit: 3,
        BASE.ExifImageWidth: 2 * WIDTH,
        BASE.ExifImageHeight: 2 * HEIGHT,
    }
    lens = decoded(tags).lens
    assert lens is not None
    assert lens.fx_px == pytest.approx(200)


def test_a_digital_zoom_counts_once() -> None:
    """iPhones write an equivalent that counts it already; focal length and sensor never do."""
    phone = {BASE.FocalLength: 3.99, BASE.FocalLengthIn35mmFilm: 55, BASE.DigitalZoomRatio: 1.951}
    assert decoded(phone).lens == decoded({BASE.FocalLengthIn35mmFilm: 55}).lens
    camera = {BASE.FocalLength: 24.0, BASE.FocalLengthIn35mmFilm: 36, BASE.DigitalZoomRatio: 2.0}
    assert decoded(camera).lens == decoded({BASE.FocalLengthIn35mmFilm: 72}).lens
    plain = {BASE.FocalLength: 4.0, BASE.FocalPlaneXResolution: 500.0, BASE.FocalPlaneResolutionUnit: 3}
    lens, zoomed = decoded(plain).lens, decoded({**plain, BASE.DigitalZoomRatio: 2.0}).lens
    assert lens is not None
    assert zoomed is not None
    assert zoomed.fy_px == pytest.approx(2 * lens.fy_px)


@pytest.mark.parametrize(
    "tags",
    [
        {BASE.FocalLengthIn35mmFilm: 1},
        {BASE.FocalLengthIn35mmFilm: 60_000},
        {BASE.FocalLengthIn35mmFilm: 177, BASE.FocalLength: 3.99},  # an iPhone 8 at 640x480
        {BASE.FocalLengthIn35mmFilm: 26, BASE.ExifImageWidth: 100, BASE.ExifImageHeight: 100},
        {BASE.FocalLength: 4.0, BASE.FocalPlaneXResolution: 5.0},
    ],
)
def test_what_cannot_be_is_ignored_aloud(tags: dict[int, Any]) -> None:
    image = decoded(tags)
    assert image.lens is None
    assert "lens is ignored" in image.notice


@pytest.mark.parametrize(
    "tags",
    [{}, {BASE.FocalLength: 4.0}, {BASE.FocalLengthIn35mmFilm: 0}, {BASE.FocalLength: float("nan")}],
)
def test_what_says_nothing_is_no_notice(tags: dict[int, Any]) -> None:
    image = decoded(tags)
    assert (image.lens, image.notice) == (None, "")
