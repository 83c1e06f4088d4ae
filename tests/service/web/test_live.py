"""A person with a camera; Chromium brings one that shows a moving picture."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.process import Process
from tests.service.web.browser import opened, pixels_of, served, until_shown

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with served(tmp_path_factory.mktemp("models"), DEPTH_MAX_STREAMS=2) as process:
        yield process


@pytest.fixture
def page(browser: Any, service: Process) -> Iterator[Any]:
    with opened(browser, service.url, permissions=["camera"], viewport={"width": 800, "height": 700}) as page:
        yield page


def start(page: Any) -> None:
    page.get_by_role("button", name="Stream the webcam").click()
    page.get_by_text("frames a second").wait_for()


def test_the_webcam_s_depth_follows_it_until_it_is_stopped_and_the_last_frame_stays(page: Any) -> None:
    start(page)
    first = pixels_of(page, "#stage")
    page.wait_for_timeout(400)  # the fake camera's picture moves with time alone
    assert (pixels_of(page, "#stage") != first).any()
    page.get_by_role("button", name="Stop the webcam").click()
    page.get_by_text("Ready, on").wait_for()
    still = pixels_of(page, "#stage")
    page.wait_for_timeout(300)
    assert np.array_equal(pixels_of(page, "#stage"), still)
    with page.expect_download() as download:
        page.locator("[data-format=color]").click()
    assert download.value.suggested_filename == "webcam_color.png"


def test_a_stream_beyond_the_service_s_bound_is_told_so(browser: Any, page: Any, service: Process) -> None:
    start(page)
    asked = {"permissions": ["camera"]}
    with opened(browser, service.url, **asked) as second, opened(browser, service.url, **asked) as third:
        start(second)
        third.get_by_role("button", name="Stream the webcam").click()
        third.get_by_role("alert").get_by_text("opened no stream").wait_for()
        assert third.get_by_role("button", name="Stream the webcam").is_visible()


def test_a_picture_that_is_chosen_ends_the_stream(page: Any) -> None:
    start(page)
    page.locator("#samples button").first.click()
    page.wait_for_selector("#webcam[aria-pressed=false]")
    page.locator("#facts", has_text="1280 × 720").wait_for()
    assert page.locator("#status").text_content().startswith("Ready")


def test_a_photograph_is_taken(page: Any) -> None:
    page.get_by_role("button", name="Take one").click()
    page.wait_for_function("() => document.getElementById('preview').videoWidth > 0")
    with page.expect_response("**/v1/depth?*"):
        page.get_by_role("button", name="Take it").click()
    until_shown(page)
    assert page.locator("#shutter").is_hidden()
    assert page.evaluate("() => document.getElementById('preview').srcObject.active") is False
    with page.expect_download() as download:
        page.locator("[data-format=png16]").click()
    assert download.value.suggested_filename == "photograph_depth.png"
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).mode.startswith("I")


def test_a_photograph_may_be_left_untaken(page: Any) -> None:
    page.get_by_role("button", name="Take one").click()
    page.wait_for_function("() => document.getElementById('preview').videoWidth > 0")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_function("() => !document.getElementById('preview').srcObject.active")
