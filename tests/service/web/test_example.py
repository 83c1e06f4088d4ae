"""The browser example: of another origin than the service, typed, and right to the last bit."""

import functools
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.clients.places import node_modules, program
from tests.e2e.process import ROOT, Process
from tests.service.web.browser import LEFT, RIGHT, halves, metres, served

pytestmark = pytest.mark.timeout(300)

EXAMPLE = ROOT / "examples" / "browser"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The example's folder, served by somebody else than the service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=EXAMPLE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[Process]:
    with served(tmp_path_factory.mktemp("models"), DEPTH_CORS_ORIGINS=origin) as process:
        yield process


@pytest.fixture
def page(browser: Any, origin: str, service: Process) -> Iterator[Any]:
    page = browser.new_page()
    page.goto(origin)
    page.get_by_label("Service").fill(service.url)
    yield page
    page.close()


ASK = """async ([service, format, bytes]) => {
  const { depthOf, depthAt } = await import("./depth.js");
  try {
    const map = await depthOf(service, new Blob([Uint8Array.from(bytes)], { type: "image/png" }), { format });
    return { ...map, values: null, left: depthAt(map, 0, 0), right: depthAt(map, 399, 199) };
  } catch (error) {
    return { name: error.name, code: error.code, status: error.status, message: error.message };
  }
}"""


@pytest.mark.parametrize("format_", ["float16", "png16"])
def test_a_page_of_another_origin_reads_depth_and_what_the_answer_says_of_it(
    page: Any, service: Process, format_: str
) -> None:
    answer = page.evaluate(ASK, [service.url, format_, list(halves())])
    assert (answer["left"], answer["right"]) == (metres(LEFT), metres(RIGHT))
    assert (answer["width"], answer["height"], answer["unit"]) == (400, 200, "metre")
    assert (answer["minimum"], answer["maximum"]) == (metres(LEFT), metres(RIGHT))
    assert answer["model"].startswith("student ")
    assert answer["requestId"]


def test_an_error_can_be_read_from_another_origin(page: Any, service: Process) -> None:
    answer = page.evaluate(ASK, [service.url, "float16", list(b"no picture")])
    assert (answer["status"], answer["code"]) == (422, "invalid_image")


def test_a_page_whose_origin_is_not_named_is_kept_out_by_the_browser(
    browser: Any, origin: str, service: Process
) -> None:
    page = browser.new_page()
    page.goto(origin.replace("127.0.0.1", "localhost"))
    answer = page.evaluate(ASK, [service.url, "float16", list(halves())])
    assert answer["code"] == "unreachable"
    assert "DEPTH_CORS_ORIGINS does not name this page's origin, http://localhost:" in answer["message"]
    page.close()


def test_a_person_chooses_a_photograph_and_clicks_on_it(page: Any) -> None:
    page.get_by_label("Photograph").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": halves()}
    )
    page.get_by_text("400 × 200 pixels").wait_for()
    page.locator("#picture").click(position={"x": 300, "y": 100})
    assert page.locator("#answer").text_content() == "32.00 metre"


def test_a_page_says_why_there_is_no_answer(page: Any) -> None:
    page.get_by_label("Service").fill("http://127.0.0.1:1")
    page.get_by_label("Photograph").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": halves()}
    )
    page.get_by_text("http://127.0.0.1:1 gave no answer").wait_for()


def test_a_page_that_is_opened_from_a_file_says_what_to_do(browser: Any) -> None:
    page = browser.new_page()
    page.goto((EXAMPLE / "index.html").as_uri())
    page.get_by_text("python -m http.server").wait_for()
    page.close()


def test_the_types_of_the_example_and_of_the_page_agree() -> None:
    tsc = node_modules() / "typescript" / "bin" / "tsc"
    checked = subprocess.run(
        [program("node"), tsc, "-p", EXAMPLE], capture_output=True, text=True, check=False, timeout=100
    )
    assert checked.returncode == 0, checked.stdout
