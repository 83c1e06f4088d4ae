"""A person with a picture: gives it, looks at it, reads it, takes it away."""

import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.codec import COLOUR_MAPS
from service.contract.request import Format
from tests.e2e.process import Process
from tests.service.web.browser import (
    LEFT,
    RIGHT,
    halves,
    metres,
    opened,
    pixels_of,
    point,
    show,
    until_shown,
)

NEAR, FAR = metres(LEFT), metres(RIGHT)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def halves_page(browser: Any, service: Process) -> Iterator[Any]:
    """One page for all that only look at the same picture."""
    with opened(browser, service.url) as page:
        show(page, halves())
        yield page


def read(words: str) -> float:
    """The number of a distance in metres; the JPEG on the way may change a green by one."""
    number, unit = words.split()
    assert unit == "m"
    return float(number)


def assert_halves(page: Any) -> None:
    assert read(point(page, 0.2, 0.5)) == pytest.approx(NEAR, rel=0.07)
    assert read(point(page, 0.8, 0.5)) == pytest.approx(FAR, rel=0.07)


# Giving a picture


def test_a_first_visit_shows_depth_and_nothing_leaves_the_service(browser: Any, service: Process) -> None:
    with opened(browser, "about:blank", shown=False) as page:
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda line: complaints.append(line.text))
        page.goto(service.url)
        until_shown(page)
        assert read(page.locator("#distance").text_content()) > 0
        show(page, halves())
        page.get_by_role("tab", name="3-D").click()
        page.wait_for_selector("#cloud[data-points]")
    elsewhere = [url for url in asked if not url.startswith((service.url, "blob:", "data:"))]
    assert asked
    assert not elsewhere
    assert not [line for line in complaints if "GPU stall" not in line]


def test_a_file_is_chosen(halves_page: Any) -> None:
    assert_halves(halves_page)


def test_a_picture_is_dropped_anywhere(page: Any) -> None:
    drop = """async (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], "dropped.png", { type: "image/png" }));
      for (const name of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true }));
    }"""  # noqa: E501
    with page.expect_response("**/v1/depth?*"):
        page.evaluate(drop, list(halves()))
    until_shown(page)
    assert page.locator("#veil").is_hidden()
    assert_halves(page)


def test_a_picture_is_pasted(browser: Any, service: Process) -> None:
    with opened(browser, service.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        copy = """(bytes) => navigator.clipboard.write(
          [new ClipboardItem({ "image/png": new Blob([Uint8Array.from(bytes)], { type: "image/png" }) })])"""
        page.evaluate(copy, list(halves()))
        with page.expect_response("**/v1/depth?*"):
            page.keyboard.press("Control+V")
        until_shown(page)
        assert_halves(page)


def test_a_sample_is_picked(page: Any) -> None:
    before = pixels_of(page, "#stage")
    with page.expect_response("**/v1/depth?*"):
        page.get_by_role("button", name="cars turning off").click()
    until_shown(page)
    assert page.locator("#samples [aria-current=true]").count() == 1
    after = pixels_of(page, "#stage")
    assert after.shape != before.shape or (after != before).mean() > 0.3


def test_a_turned_photograph_is_seen_upright(page: Any) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter: its left half is the upper one
    Image.open(io.BytesIO(halves(400, 200))).save(file, "JPEG", exif=exif, quality=95)
    show(page, file.getvalue(), "turned.jpg")
    assert "200 × 400" in page.locator("#facts").text_content()
    assert read(point(page, 0.8, 0.2)) == pytest.approx(NEAR, rel=0.07)
    assert read(point(page, 0.8, 0.8)) == pytest.approx(FAR, rel=0.07)


# Looking at it


def test_the_photograph_and_its_depth_share_the_stage_where_the_slider_says(page: Any) -> None:
    show(page, halves())
    slider = page.get_by_role("slider", name="photograph")
    shares = {}
    for percent in (0, 50, 100):
        slider.fill(str(percent))
        seen = pixels_of(page, "#depth")
        photo = np.abs(seen.astype(int) - [90, seen[5, 5, 1], 90]).max(axis=2) < 6
        shares[percent] = photo.mean()
    assert shares[0] < 0.02
    assert shares[50] == pytest.approx(0.5, abs=0.06)
    assert shares[100] > 0.45  # of the right half, the green is another


def test_the_curtain_is_dragged(page: Any) -> None:
    box, handle = page.locator("#depth").bounding_box(), page.locator("#divider span").bounding_box()
    page.mouse.move(handle["x"] + 17, handle["y"] + 17)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], handle["y"], steps=4)
    page.mouse.up()
    assert float(page.locator("#split").input_value()) == pytest.approx(25, abs=1)


def test_beside_each_other_both_pictures_show_the_same_point(page: Any) -> None:
    show(page, halves())
    page.get_by_role("tab", name="Beside").click()
    assert read(point(page, 0.2, 0.5, "#photo")) == pytest.approx(NEAR, rel=0.07)
    marks = page.locator(".mark b")
    assert marks.count() == 2
    assert marks.all_text_contents()[0] == marks.all_text_contents()[1]


@pytest.mark.parametrize("name", ["turbo", "viridis", "gray"])
def test_colours_are_the_map_s(halves_page: Any, name: str) -> None:
    halves_page.get_by_role("tab", name="Over").click()
    halves_page.locator("#split").fill("0")
    halves_page.get_by_role("radio", name=name).check(force=True)
    halves_page.mouse.move(0, 0)
    seen = pixels_of(halves_page, "#depth")
    height, width, _ = seen.shape
    for x, level in ((0.1, 255), (0.9, 0)):  # the range is the picture's own: near and far are its ends
        found = seen[int(height * 0.2), int(width * x)].astype(int)
        assert np.abs(found - COLOUR_MAPS[name][level]).max() <= 12


def test_the_range_is_typed_pulled_and_fitted(page: Any) -> None:
    show(page, halves())
    near, far = page.get_by_label("Near"), page.get_by_label("Far")
    assert float(near.input_value()) == pytest.approx(NEAR, rel=0.07)
    near.fill("16")
    near.press("Enter")
    page.locator("#split").fill("0")
    seen = pixels_of(page, "#depth")
    assert np.abs(seen[40, 40].astype(int) - COLOUR_MAPS["turbo"][255]).max() <= 12
    box = page.locator("#histogram").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 40, steps=3)
    page.mouse.up()
    assert 16 < float(far.input_value()) < 0.95 * FAR
    page.get_by_role("button", name="Fit").click()
    assert float(near.input_value()) == pytest.approx(NEAR, rel=0.07)
    assert float(far.input_value()) == pytest.approx(FAR, rel=0.07)


def test_the_histogram_has_a_bar_for_each_of_two_distances(halves_page: Any) -> None:
    halves_page.get_by_role("radio", name="turbo").check(force=True)
    seen = pixels_of(halves_page, "#histogram").astype(int)
    coloured = (seen.max(axis=2) - seen.min(axis=2) > 60).any(axis=0)
    assert 2 <= coloured.sum() < 0.2 * coloured.size


def test_the_times_are_told(halves_page: Any) -> None:
    told = halves_page.locator("#timings").text_content()
    assert all(name in told for name in ("decode", "queue", "network", "encode", "on the way"))


def test_another_model_measures_the_same_picture_in_its_own_unit(page: Any) -> None:
    show(page, halves())
    with page.expect_response("**/v1/depth?*") as answer:
        page.get_by_label("Model").select_option("vague")
    until_shown(page)
    assert "model=vague" in answer.value.url
    assert point(page, 0.2, 0.5).endswith("units")
    assert "relative" in page.locator("#facts").text_content()
    assert page.locator("[data-format=png16_mm]").is_disabled()


# Reading it


def test_kept_points_stay_until_they_are_cleared(page: Any) -> None:
    show(page, halves())
    box = page.locator("#depth").bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    point(page, 0.8, 0.5)
    texts = page.locator(".mark b").all_text_contents()
    assert [round(read(text) / 8) for text in texts] == [1, 4]
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".mark").count() == 0


def test_everything_is_done_by_keyboard_alone(page: Any) -> None:
    def tab_to(element: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(element) => document.activeElement.matches(element)", element):
                return
        raise AssertionError(f"{element} was never reached")

    page.on("filechooser", lambda _: None)  # playwright listens a moment late where nobody did before
    tab_to("#choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    with page.expect_response("**/v1/depth?*"):
        chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": halves()})
    until_shown(page)
    tab_to("#tab-over")
    tab_to("#depth")
    page.keyboard.press("ArrowLeft")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowLeft")
    assert read(page.locator("#spoken").text_content()) == pytest.approx(NEAR, rel=0.07)
    page.keyboard.press("Enter")
    for _ in range(10):
        page.keyboard.press("Shift+ArrowRight")
    assert read(page.locator("#spoken").text_content()) == pytest.approx(FAR, rel=0.07)
    assert page.locator(".mark.kept").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".mark").count() == 0
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    page.locator("#tab-over").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-beside").get_attribute("aria-selected") == "true"
    tab_to("[data-format=npy]")
    with page.expect_download() as download:
        page.keyboard.press("Space")
    assert download.value.suggested_filename == "a_depth.npy"


# Taking it away


def saved(page: Any, format_: str, folder: Path) -> bytes:
    with page.expect_download() as download:
        page.locator(f"[data-format={format_}]").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path.read_bytes()


def test_each_format_that_the_service_writes_can_be_taken_away(halves_page: Any) -> None:
    offered = halves_page.evaluate(
        "() => [...document.querySelectorAll('[data-format]')].map((b) => b.dataset.format)"
    )
    assert set(offered) == {str(format_) for format_ in Format}


@pytest.mark.parametrize("format_", list(Format))
def test_what_is_taken_away_holds_the_photograph_s_depth(
    halves_page: Any, format_: Format, tmp_path: Path
) -> None:
    body = saved(halves_page, format_, tmp_path)
    if format_ == Format.NPY:
        depth = np.load(io.BytesIO(body))
        assert depth.shape == (200, 400)
        assert (depth[0, 0], depth[0, -1]) == pytest.approx((NEAR, FAR))
    elif format_ == Format.PNG16:
        steps = np.asarray(Image.open(io.BytesIO(body)))
        assert (steps[0, 0] / 256, steps[0, -1] / 256) == pytest.approx((NEAR, FAR))
    elif format_ == Format.PNG16_MM:
        assert np.asarray(Image.open(io.BytesIO(body)))[0, -1] == FAR * 1000
    elif format_ == Format.JSON:
        assert json.loads(body)["unit"] == "metre"
    elif format_ == Format.COLOR:
        assert Image.open(io.BytesIO(body)).size == (400, 200)
    elif format_ == Format.PLY:
        assert body.startswith(b"ply\n")
        [points] = re.findall(rb"element vertex (\d+)\n", body)
        assert 60_000 < int(points) < 80_000  # without those on the edge between the halves
    elif format_ == Format.JXL:
        assert body[:2] == b"\xff\x0a" or b"JXL" in body[:12]
    else:
        assert len(body) == 80_000 * (4 if format_ == Format.FLOAT32 else 2)


def test_the_call_that_is_shown_works_in_a_terminal(halves_page: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(halves(kind="JPEG"))
    with halves_page.expect_response("**/v1/depth?*"):
        halves_page.locator("[data-format=npy]").click()
    call = shlex.split(halves_page.locator("#call").text_content())
    assert call[0] == "curl"
    subprocess.run([*call, "--silent", "--fail"], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "photo_depth.npy").shape == (200, 400)
