import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import depth_client as contract
from depth_client import (
    DepthClient,
    Retry,
    ServiceError,
    Unavailable,
    Unreachable,
    UnreadableAnswer,
    errors,
)
from depth_client.http_wire import error_answer

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "timm", "openvino", "fastapi", "starlette", "uvicorn", "pydantic", "cv2")
HEAVY += ("jaxtyping", "orjson", "prometheus_client", "grpc_health", "imagecodecs", "PIL", "av")

LIGHT = f"""
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Refusing())
import asyncio, numpy
from depth_client import AsyncDepthClient, DepthClient, Retry, Unreachable
once = Retry(attempts=1)
for transport in ("http", "grpc"):
    with DepthClient(transport + "://127.0.0.1:9", retry=once) as client:
        for ask in (lambda: client.predict(numpy.zeros((4, 4, 3), numpy.uint8)),
                    lambda: next(client.stream([b"frame"]))):
            try:
                ask()
            except Unreachable:
                print("unreachable")
"""


def test_it_needs_nothing_of_the_server() -> None:
    """Nor Pillow, PyAV or OpenCV, as long as nobody asks for what they do."""
    ran = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["unreachable"] * 4, ran.stderr


def test_its_names_are_sorted_and_there() -> None:
    assert contract.__all__ == sorted(contract.__all__, key=lambda name: (name[0].islower(), name))
    assert all(hasattr(contract, name) for name in contract.__all__)


def test_the_errors_are_the_service_s_own_and_two_more() -> None:
    drawn = re.findall(r"[├└]── ([A-Z]\w+)", errors.__doc__ or "")
    assert drawn == ["Unavailable", "Unreachable", "UnreadableAnswer"]
    assert issubclass(Unreachable, Unavailable)
    assert {name for name in errors.__all__ if name[0].isupper()} <= set(contract.__all__)


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """Something that speaks HTTP and is no depth service."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "headers"), [(200, {}), (302, {"location": "/elsewhere"}), (404, {})])
def test_what_is_no_depth_service_is_told_from_one(status: int, headers: dict[str, str]) -> None:
    with (
        answering(status, b"<html>hello</html>", **headers) as address,
        DepthClient(address, retry=Retry(attempts=1)) as client,
        pytest.raises(UnreadableAnswer),
    ):
        client.predict(b"photo")


def test_a_proxy_s_word_counts_where_the_service_has_none() -> None:
    full = error_answer(429, {"retry-after": "7"}, b"slow down")
    assert (type(full).__name__, full.retry_after_s) == ("Overloaded", 7.0)
    assert "slow down" in str(full)
    assert type(error_answer(502, {}, b"")).__name__ == "Unreachable"
    assert (
        type(error_answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")).__name__ == "NotReady"
    )
    assert error_answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"").retry_after_s == 0.0
    assert error_answer(503, {"retry-after": "soon"}, b"").retry_after_s is None
    assert type(error_answer(418, {}, b"[]")).__name__ == "RequestError"
    assert type(error_answer(599, {}, b'{"error": "flat"}')) is ServiceError
