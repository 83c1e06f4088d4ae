"""A real Chromium in front of a real service whose distances can be computed in the head."""

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint

api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install '.[dev]')")

CHROMIUM = os.environ.get("DEPTH_TEST_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_FLAGS = (
    "--no-sandbox",  # there is none in most containers
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
_READ_AT = """([x, y]) => {
  const numbers = document.getElementById("where").textContent.match(/\\d+/g) ?? [];
  const [column, row, width, height] = numbers.map(Number);
  return Math.abs(column / width - x) < 0.02 && Math.abs(row / height - y) < 0.02;
}"""
_TIMEOUT_MS = 60_000
"""Without a graphics card, on a busy machine, a browser takes its time."""
METRES_PER_UNIT = 2.0
TRAINED = 2.0
"""Vertical focal length over height, for which these metres hold."""
LEFT, RIGHT = 63, 15
"""How green the halves of :func:`halves` are."""


def metres(green: int) -> float:
    """What the simulated backend answers for a green of 0 to 255."""
    return METRES_PER_UNIT * 256 / (1 + green)


def halves(width: int = 400, height: int = 200, kind: str = "PNG") -> bytes:
    """A picture whose left half is 8 m away and whose right half is 32 m away."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[:, : width // 2, 1], pixels[:, width // 2 :, 1] = LEFT, RIGHT
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@contextmanager
def served(folder: Path, **environment: object) -> Iterator[Process]:
    """Serve a metric model and a relative one that answer without computing."""
    write_checkpoint(folder / "student.safetensors", metres_per_unit=METRES_PER_UNIT, fy_per_height=TRAINED)
    write_checkpoint(folder / "vague.safetensors", metres_per_unit=None)
    with running(SERVE, DEPTH_MODELS=folder, DEPTH_BACKEND="simulated", **environment) as process:
        yield process


@contextmanager
def chromium(playwright: Any, *flags: str, without: Sequence[str] = ()) -> Iterator[Any]:
    """Run a browser, or skip the test that asks for one."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian's package chromium, or its path in DEPTH_TEST_CHROMIUM)")
    arguments = [flag for flag in _FLAGS if flag not in without]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, *flags])
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def opened(browser: Any, url: str, *, shown: bool = True, **options: Any) -> Iterator[Any]:
    """Open the page, and wait for the first sample's depth; nothing on it may go wrong unnoticed."""
    faults: list[str] = []
    options = {"reduced_motion": "reduce", "viewport": {"width": 1280, "height": 860}, **options}
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        if shown:
            until_shown(page)
        yield page
        assert not faults
    finally:
        context.close()


def until_shown(page: Any) -> None:
    """Wait until depth is seen that belongs to the last picture."""
    page.wait_for_selector("body[data-state=shown]:not([aria-busy])")


def show(page: Any, image: bytes, name: str = "halves.png") -> None:
    """Choose a file as a person does, and wait for its depth."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photograph").click()
    with page.expect_response("**/v1/depth?*"):
        chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": image})
    until_shown(page)


def point(page: Any, x: float, y: float, canvas: str = "#depth") -> str:
    """Move the pointer to a place, in shares of the picture's sides; answer the distance that is read."""
    box = page.locator(canvas).bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_function(_READ_AT, arg=[x, y])
    return page.locator("#distance").text_content()


def pixels_of(page: Any, selector: str) -> np.ndarray:
    """What an element looks like, as RGB."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"))
