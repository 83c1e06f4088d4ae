"""Photograph the playground in each state that the documentation shows, in a real Chromium.

    python docs/pictures/playground.py                         # starts the service on the shipped student
    python docs/pictures/playground.py http://localhost:8000/  # or one that runs already

It needs playwright (`pip install '.[dev]'`) and a Chromium, on the path or in DEPTH_TEST_CHROMIUM.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
DESKTOP = {"viewport": {"width": 1360, "height": 850}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
QUALITY, MOST_BYTES = 90, 300_000
WARM_UP = 3
"""What is timed should not be the first thing that the network ever saw."""


@contextmanager
def served() -> Iterator[str]:
    """Run the service for as long as the ``with`` lasts."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        chosen = {"DEPTH_HTTP_PORT": "0", "DEPTH_GRPC_PORT": "0", "DEPTH_READY_FILE": str(ready)}
        command = [sys.executable, "-m", "service"]
        environment = {**os.environ, **chosen}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit("the service ended before it was ready")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{json.loads(ready.read_text())['http_port']}/"
            process.terminate()


def keep(page: Any, name: str) -> None:
    """Write what is seen as WebP: a quarter of a PNG's size, and no fewer colours."""
    picture = Image.open(io.BytesIO(page.screenshot(timeout=200_000))).convert("RGB")
    path = HERE / f"playground-{name}.webp"
    picture.save(path, quality=QUALITY, method=6)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        sys.exit(f"{path.name} has {size} bytes; expected at most {MOST_BYTES}")


@contextmanager
def opened(browser: Any, url: str, sample: int, **options: Any) -> Iterator[Any]:
    """Open the page on one of its samples."""
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-state=shown]:not([aria-busy])")
    for _ in range(WARM_UP):
        with page.expect_response("**/v1/depth?*"):
            page.locator("#samples button").nth(sample).click()
        page.wait_for_selector("body[data-state=shown]:not([aria-busy])")
    page.wait_for_function("() => document.querySelectorAll('#samples [aria-current=true]').length")
    yield page
    context.close()


def point(page: Any, x: float, y: float, *, click: bool = False) -> None:
    """Move the pointer over the picture, in shares of its sides."""
    box = page.locator("#depth").bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    if click:
        page.mouse.down()
        page.mouse.up()


def photograph(browser: Any, url: str) -> None:
    """Write every picture."""
    with opened(browser, url, 0, **DESKTOP, color_scheme="light") as page:
        point(page, 0.3, 0.75, click=True)
        point(page, 0.55, 0.6)
        keep(page, "desktop")
        notes = {"name": "notes.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}
        page.locator("#file").set_input_files(notes)
        page.wait_for_selector("#notice:not([hidden])")
        keep(page, "error")
    with opened(browser, url, 2, **DESKTOP, color_scheme="dark") as page:
        page.get_by_role("radio", name="inferno").check(force=True)
        page.get_by_role("tab", name="Beside").click()
        point(page, 0.63, 0.7)
        keep(page, "dark")
        page.get_by_label("Far").fill("45")  # without the sky, which would hide the street
        page.get_by_label("Far").press("Enter")
        page.get_by_role("tab", name="3-D").click()
        page.wait_for_selector("#cloud[data-points]")
        page.wait_for_timeout(3000)  # without a graphics card half a million points take their time
        keep(page, "cloud")
    with opened(browser, url, 3, **PHONE, device_scale_factor=2, color_scheme="light") as page:
        box = page.locator("#depth").bounding_box()
        page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
        keep(page, "phone")


def main() -> None:
    """Find a browser and a service, and photograph."""
    chromium = os.environ.get("DEPTH_TEST_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("no Chromium was found; name it in DEPTH_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        if sys.argv[1:]:
            photograph(browser, sys.argv[1])
        else:
            with served() as url:
                photograph(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
