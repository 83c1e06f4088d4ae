"""What a person is told when something goes wrong, and what helps."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.transports.auth import hash_key
from tests.e2e.process import Process
from tests.service.web.browser import chromium, halves, opened, served, show, until_shown

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """It has few bytes for a picture, and asks for a key; one key may ask for a single picture."""
    folder = tmp_path_factory.mktemp("models")
    keys = folder / "keys.txt"
    keys.write_text(f"ann {hash_key('right')}\nbob {hash_key('slow')} 0.2 1\n")
    with served(folder, DEPTH_API_KEYS=keys, DEPTH_MAX_BODY_BYTES=200_000) as process:
        yield process


@pytest.fixture
def locked(browser: Any, service: Process) -> Iterator[Any]:
    with opened(browser, service.url, shown=False) as page:
        yield page


@pytest.fixture(scope="module")
def page(browser: Any, service: Process) -> Iterator[Any]:
    with opened(browser, service.url, shown=False) as page:
        unlock(page, "right")
        until_shown(page)
        yield page


def unlock(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use this key").click()


def told(page: Any, title: str) -> str:
    """Wait for a notice with this title; answer all that it says."""
    page.get_by_role("alert").get_by_text(title).wait_for()
    return page.get_by_role("alert").inner_text()


def give(page: Any, name: str, kind: str, body: bytes) -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": kind, "buffer": body})


def test_a_service_with_keys_asks_for_one_and_opens_with_it(locked: Any) -> None:
    assert "Whoever runs it" in told(locked, "asks for an API key")
    unlock(locked, "wrong")
    locked.get_by_text("the API key is not valid").wait_for()
    unlock(locked, "right")
    until_shown(locked)
    assert locked.get_by_role("alert").is_hidden()
    assert "Bearer $KEY" in locked.locator("#call").text_content()
    locked.reload()
    until_shown(locked)
    with locked.expect_download() as download:
        locked.locator("[data-format=png16]").click()
    assert download.value.failure() is None


def test_a_file_that_is_no_picture_is_named_and_the_old_picture_stays(page: Any) -> None:
    give(page, "notes.pdf", "application/pdf", b"%PDF-1.7")
    words = told(page, "This file is not a picture")
    assert "JPEG, PNG, WebP and AVIF work" in words
    assert "notes.pdf" in words
    assert page.locator("body").get_attribute("data-state") == "shown"
    page.get_by_role("button", name="Close this message").click()
    assert page.get_by_role("alert").is_hidden()


@pytest.mark.parametrize(
    ("name", "kind", "body", "title"),
    [
        ("empty.jpg", "image/jpeg", b"", "This file is empty"),
        ("cut.jpg", "image/jpeg", b"\xff\xd8\xff\xe0", "This file is not a picture"),
        ("IMG_1.HEIC", "image/heic", b"\0\0\0\x18ftypheic", "cannot open HEIC"),
    ],
)
def test_other_files_are_told_apart(page: Any, name: str, kind: str, body: bytes, title: str) -> None:
    give(page, name, kind, body)
    assert told(page, title)


def test_a_picture_over_the_limit_is_told_so(page: Any) -> None:
    noise = """async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 900, height: 700 });
      const context = canvas.getContext("2d");
      const picture = context.createImageData(900, 700);
      for (let index = 0; index < picture.data.length; index += 1) picture.data[index] = index % 4 === 3 ? 255 : Math.random() * 256;
      context.putImageData(picture, 0, 0);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
      const files = new DataTransfer();
      files.items.add(new File([blob], "noise.png", { type: "image/png" }));
      const input = document.getElementById("file");
      input.files = files.files;
      input.dispatchEvent(new Event("change"));
    }"""  # noqa: E501
    page.evaluate(noise)
    words = told(page, "This picture is too large")
    assert "raise its limit" in words
    assert re.search(r"request \w+", words)


def test_a_range_that_makes_no_sense_is_refused_beside_its_fields(page: Any) -> None:
    show(page, halves())
    near = page.get_by_label("Near")
    near.fill("1000")
    near.press("Enter")
    assert told(page, "Near must be above zero")
    assert near.get_attribute("aria-invalid") == "true"


def test_a_busy_service_is_asked_again_when_it_said(locked: Any) -> None:
    unlock(locked, "slow")
    until_shown(locked)
    locked.locator("#samples button").nth(1).click()
    assert re.search(r"Trying again in \d s", told(locked, "The service is busy"))
    until_shown(locked)
    assert locked.get_by_role("alert").is_hidden()


def test_a_model_that_is_gone_is_told_so(page: Any) -> None:
    page.evaluate("() => document.getElementById('model').append(new Option('gone', 'gone'))")
    page.get_by_label("Model").select_option("gone")
    assert told(page, "There is no such model any more")
    page.get_by_label("Model").select_option("student")
    until_shown(page)


def test_a_refused_camera_is_explained(playwright: Any, service: Process) -> None:
    without = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(playwright, without=without) as browser, opened(browser, service.url, shown=False) as page:
        unlock(page, "right")
        until_shown(page)
        page.get_by_role("button", name="Stream the webcam").click()
        page.get_by_role("alert").get_by_text(re.compile("camera")).first.wait_for()
        page.get_by_role("button", name="Take one").click()
        page.get_by_role("alert").get_by_text(re.compile("camera")).first.wait_for()


def test_a_service_that_went_away_is_missed_and_found_again(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with served(tmp_path / "one") as first, opened(browser, first.url) as page:
        port = first.http_port
        first.kill()
        page.locator("#samples button").nth(1).click()
        assert "as soon as it is back" in told(page, "The service does not answer")
        assert page.locator("#status").text_content() == "Out of reach"
        with served(tmp_path / "two", DEPTH_HTTP_PORT=port):
            page.get_by_role("button", name="Try again").click()
            page.get_by_text("Ready, on").wait_for()
            assert page.get_by_role("alert").is_hidden()
            assert page.locator("#samples [aria-current=true]").count() == 1


def test_a_service_that_loads_is_waited_for(browser: Any, service: Process) -> None:
    """The page is sent before models are ready; here every answer says so once."""
    with opened(browser, "about:blank", shown=False) as page:
        busy = {"error": {"code": "not_ready", "message": "not ready", "request_id": "1"}}
        loading = True

        def answer(route: Any) -> None:
            if loading:
                route.fulfill(status=503, body=json.dumps(busy), headers={"Retry-After": "1"})
            else:
                route.continue_()

        page.route("**/v1/models", answer)
        page.route("**/readyz", answer)
        page.goto(service.url)
        page.get_by_text("Loading its models").wait_for()
        assert page.get_by_role("alert").is_hidden()
        loading = False
        page.wait_for_function("() => document.getElementById('unlock').offsetParent", timeout=15_000)
