"""A person who knows something of the picture: its lens, or a distance in it."""

import io
import math
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import ExifTags, Image

from tests.service.web.browser import (
    LEFT,
    RIGHT,
    TRAINED,
    halves,
    metres,
    point,
    show,
    until_shown,
)

NEAR, FAR = metres(LEFT), metres(RIGHT)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def page(page: Any) -> Any:
    """Of a picture whose distances are known."""
    show(page, halves())
    return page


def told(page: Any, field: str, value: str) -> dict[str, str]:
    """Type what is known, wait for the new depth, and return the options that it was asked with."""
    with page.expect_response("**/v1/depth?*") as answer:
        page.locator(field).fill(value)
        page.locator(field).press("Enter")
    until_shown(page)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.value.url).query).items()}


def seen(page: Any, x: float) -> float:
    return float(point(page, x, 0.5).removesuffix(" m"))


def basis(page: Any) -> str:
    return str(page.locator("#basis").text_content())


def test_without_a_lens_the_page_says_for_which_one_its_metres_hold(page: Any) -> None:
    assert seen(page, 0.2) == pytest.approx(NEAR, rel=0.07)
    assert f"lens of training, {2 * math.degrees(math.atan(0.5 / TRAINED)):.0f}\N{DEGREE SIGN}" in basis(page)


def test_a_distance_is_told_of_the_point_that_was_clicked(page: Any) -> None:
    box = page.locator("#depth").bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.move(
        box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"]
    )  # as on the way to the field
    asked = told(page, "#truth", "20")
    assert (float(asked["known_x_px"]), float(asked["known_y_px"])) == pytest.approx((320, 100), abs=1)
    assert seen(page, 0.8) == pytest.approx(20, rel=0.02)
    assert seen(page, 0.2) == pytest.approx(20 * NEAR / FAR, rel=0.07)
    assert "By the distance that you gave, to" in basis(page)
    with page.expect_response("**/v1/depth?*"):
        page.get_by_role("button", name="Forget").click()
    until_shown(page)
    assert seen(page, 0.8) == pytest.approx(FAR, rel=0.07)


def test_a_field_of_view_adapts_the_metres_and_what_is_taken_away(page: Any) -> None:
    told(page, "#lens", "53.13")  # fx = width: fy / height = 400 / 200, as in training
    assert seen(page, 0.2) == pytest.approx(NEAR, rel=0.07)
    told(page, "#lens", "90")
    assert seen(page, 0.2) == pytest.approx(NEAR / 2, rel=0.07)
    assert "For a lens of 90" in basis(page)
    with page.expect_download(), page.expect_response("**/v1/depth?*") as answer:
        page.locator("[data-format=ply]").click()
    assert "fov_deg=90" in answer.value.url
    assert "ply_edges=drop" in answer.value.url


def test_the_lens_that_a_photograph_s_file_names_is_shown_and_counts(page: Any) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 20
    file = io.BytesIO()
    Image.open(io.BytesIO(halves())).save(file, "JPEG", exif=exif, quality=95)
    show(page, file.getvalue(), "photo.jpg")
    focal = 20 / math.hypot(36, 24) * math.hypot(400, 200)
    fov = 2 * math.degrees(math.atan(200 / focal))
    assert float(page.locator("#lens").input_value()) == pytest.approx(fov, rel=0.02)
    assert "from its EXIF data" in basis(page)
    assert seen(page, 0.2) == pytest.approx(NEAR * focal / 200 / TRAINED, rel=0.07)


def test_what_the_service_refuses_is_said_and_what_was_known_stays(page: Any) -> None:
    page.locator("#height").fill("1.5")
    page.locator("#height").press("Enter")  # without a lens
    page.wait_for_selector("#notice:not([hidden])")
    assert "lens" in page.locator("#notice-detail").text_content()
    assert seen(page, 0.2) == pytest.approx(NEAR, rel=0.07)


def test_distances_have_two_digits(page: Any) -> None:
    assert point(page, 0.2, 0.5) == "8.0 m"
    assert point(page, 0.8, 0.5) in ("31 m", "32 m")
