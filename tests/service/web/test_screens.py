"""The page on other screens, for other eyes and in three dimensions."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.e2e.process import Process
from tests.service.web.browser import chromium, halves, opened, pixels_of, show, until_shown

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("width", [320, 800, 1920])
def test_nothing_is_wider_than_the_screen(browser: Any, service: Process, width: int) -> None:
    with opened(browser, service.url, viewport={"width": width, "height": 800}) as page:
        for tab in ("Over", "Beside", "3-D"):
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 390, 650, 1360])
def test_the_picture_fills_its_place_from_edge_to_edge(browser: Any, service: Process, width: int) -> None:
    with opened(browser, service.url, viewport={"width": width, "height": 844}) as page:
        page.wait_for_function("() => document.getElementById('depth').width === 1280")
        place, picture = (page.locator(name).bounding_box() for name in ("#stage", "#depth"))
        assert place["height"] == pytest.approx(picture["height"], abs=0.5)


def test_on_a_phone_a_finger_reads_distances_and_large_enough_buttons(browser: Any, service: Process) -> None:
    with opened(browser, service.url, **PHONE) as page:
        show(page, halves())
        box = page.locator("#depth").bounding_box()
        page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
        number, unit = page.locator("#distance").text_content().split()
        assert unit == "m"
        assert float(number) == pytest.approx(32, rel=0.07)
        small = """() => [...document.querySelectorAll("button")]
          .filter((button) => button.offsetParent && button.getBoundingClientRect().height < 34)
          .map((button) => button.id)"""
        assert page.evaluate(small) == []


def test_on_a_phone_a_photograph_comes_from_its_own_camera(browser: Any, service: Process) -> None:
    with opened(browser, service.url, **PHONE) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Take one").tap()
        assert chooser.value.element.get_attribute("capture") == "environment"


def paper(page: Any) -> float:
    """How light the page's ground is, from 0 to 255."""
    return float(pixels_of(page, "body")[-4:, :4].mean())


def test_it_is_dark_or_light_as_the_system_is_and_as_people_choose(browser: Any, service: Process) -> None:
    with opened(browser, service.url, color_scheme="dark") as page:
        assert paper(page) < 40
        button = page.get_by_role("button", name="Theme")
        button.click()
        assert paper(page) > 220
        page.reload()
        assert paper(page) > 220
        button.click()
        assert paper(page) < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Any, service: Process, scheme: str) -> None:
    """WCAG's contrast of 4.5 for every text that is set in one colour on another."""
    contrasts = """() => {
      const light = ([r, g, b]) => [0.2126 * r, 0.7152 * g, 0.0722 * b].reduce((a, b) => a + b);
      const channels = (text) => {
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return { linear: [r, g, b].map((c) => (c / 255 <= 0.04 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)), a };
      };
      const found = {};
      for (const element of document.querySelectorAll("h1, h2, p, a, button, label, small, code, figcaption, output")) {
        if (!element.offsetParent || !element.textContent.trim() || element.disabled || element.closest("#samples, #cloud, #stage")) continue;
        let ground = element;
        while (ground && channels(getComputedStyle(ground).backgroundColor).a < 255) ground = ground.parentElement;
        const [one, other] = [getComputedStyle(element).color, getComputedStyle(ground ?? document.body).backgroundColor].map((c) => light(channels(c).linear));
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) found[element.id || element.textContent.slice(0, 30)] = contrast;
      }
      return found;
    }"""  # noqa: E501
    with opened(browser, service.url, color_scheme=scheme) as page:
        assert page.evaluate(contrasts) == {}


def test_all_that_can_be_operated_has_a_name(browser: Any, service: Process) -> None:
    with opened(browser, service.url) as page:
        session = page.context.new_cdp_session(page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    operated = {
        "button",
        "link",
        "textbox",
        "slider",
        "combobox",
        "spinbutton",
        "radio",
        "tab",
        "application",
    }
    found = [node for node in nodes if node.get("role", {}).get("value") in operated and not node["ignored"]]
    assert len(found) > 30
    assert not [node["role"]["value"] for node in found if not node.get("name", {}).get("value")]


def test_who_wants_no_motion_sees_none(browser: Any, service: Process) -> None:
    with opened(browser, service.url, viewport={"width": 640, "height": 600}) as page:
        show(page, halves())
        page.get_by_role("tab", name="3-D").click()
        page.wait_for_selector("#cloud[data-points]")
        first, second = pixels_of(page, "#cloud"), pixels_of(page, "#cloud")
        assert np.array_equal(first, second)
        assert page.evaluate("() => document.getAnimations().length") == 0


CURTAIN = "() => parseFloat(document.getElementById('stage').style.getPropertyValue('--split'))"


def test_depth_is_drawn_over_the_photograph_as_a_curtain_that_comes_to_rest(
    browser: Any, service: Process
) -> None:
    """Also where the next picture comes before the curtain of the one before has come to rest."""
    with opened(browser, "about:blank", shown=False, reduced_motion="no-preference") as page:
        page.clock.install(time=0)
        page.goto(service.url)
        until_shown(page)
        page.clock.pause_at(1_000_000)  # from here on its time is ours: a busy machine changes nothing
        assert page.evaluate(CURTAIN) == 50
        for _ in range(2):
            show(page, halves())
            page.clock.run_for(200)
            assert 60 < page.evaluate(CURTAIN) < 95
        page.clock.run_for(2_000)
        assert page.evaluate(CURTAIN) == 50


# The point cloud


def test_the_cloud_is_drawn_and_turns_by_mouse_and_by_keys(browser: Any, service: Process) -> None:
    with opened(browser, service.url, viewport={"width": 640, "height": 600}) as page:
        show(page, halves())
        page.get_by_role("tab", name="3-D").click()
        # The step between the halves belongs to neither of them.
        page.wait_for_function("() => Number(document.getElementById('cloud').dataset.points) > 70000")
        assert int(page.locator("#cloud").get_attribute("data-points")) < 80_000
        views = [pixels_of(page, "#cloud canvas")]
        coloured = (views[0][..., 0].astype(int) - views[0][..., 1] > 20).mean()
        assert coloured > 0.02
        box = page.locator("#cloud").bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 380, box["y"] + 220, steps=2)
        page.mouse.up()
        views.append(pixels_of(page, "#cloud canvas"))
        page.locator("#cloud canvas").press("ArrowLeft")
        views.append(pixels_of(page, "#cloud canvas"))
        page.locator("#cloud canvas").press("+")
        views.append(pixels_of(page, "#cloud canvas"))
        for one, other in pairwise(views):
            assert (one != other).any(axis=2).mean() > 0.01
        page.get_by_role("button", name="Back to the start").click()
        assert np.abs(pixels_of(page, "#cloud canvas").astype(int) - views[0]).mean() < 1
        page.get_by_role("button", name="Depth colours").click()
        assert (pixels_of(page, "#cloud canvas") != views[0]).any(axis=2).mean() > 0.02


def test_without_webgl_the_page_says_so_and_everything_else_works(playwright: Any, service: Process) -> None:
    with chromium(playwright, "--disable-3d-apis") as browser, opened(browser, service.url) as page:
        page.get_by_role("tab", name="3-D").click()
        page.get_by_text("draws no 3-D here").wait_for()
        page.get_by_role("tab", name="Over").click()
        assert page.locator("#depth").is_visible()
