"""The part of the trial on a GPU that starts `depth-serve` and asks it as fast as it returns."""

import contextlib
import http.client
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.gpu_trial_parts import ROOT, Busy, NeedsGpu, Row, Trial
from model.drawing import drawn_image

_PHOTO = (375, 1242)
_PROCESSES = 8
_THREADS = 16
_START_S = 120.0


def service(trial: Trial) -> list[Row]:
    """Whole requests a second at saturation, and the time of a lone one."""
    if not trial.cuda:
        raise NeedsGpu("the service on CPUs is measured by benchmarks/serving.py")
    if missing := _missing():
        raise NeedsGpu(f"{missing} is not installed")
    file = io.BytesIO()
    Image.fromarray(drawn_image(*_PHOTO)).save(file, "JPEG", quality=90)
    photo = file.getvalue()
    with _served() as port:
        lone = _ask(port, photo, trial.measure_s)
        with Busy() as busy, multiprocessing.get_context("spawn").Pool(_PROCESSES) as pool:
            seconds = 4 * trial.measure_s
            counts = pool.starmap(_count, [(port, photo, _THREADS, seconds)] * _PROCESSES)
    rows = [
        Row(what="a lone request", value=1000 * statistics.median(lone), unit="ms"),
        Row(what="requests at saturation", value=sum(counts) / seconds, unit="requests/s"),
    ]
    return rows + busy.rows("at saturation")


def _missing() -> str | None:
    for name in (
        "pydantic_settings",
        "fastapi",
        "uvicorn",
        "uvloop",
        "grpc",
        "isal",
        "simplejpeg",
        "prometheus_client",
    ):
        try:
            __import__(name)
        except ImportError:
            return name
    return None


@contextlib.contextmanager
def _served() -> Iterator[int]:
    with TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        settings = {
            "DEPTH_HOST": "127.0.0.1",
            "DEPTH_HTTP_PORT": "0",
            "DEPTH_GRPC_PORT": "0",
            "DEPTH_READY_FILE": str(ready),
            "DEPTH_DEVICE": "cuda:0",
        }
        command = [sys.executable, "-m", "service"]
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, cwd=ROOT, stderr=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + _START_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("depth-serve did not become ready; run it by hand to see why")
                time.sleep(0.1)
            yield int(json.loads(ready.read_text())["http_port"])
        finally:
            process.terminate()
            process.wait(60)


def _ask(port: int, photo: bytes, seconds: float) -> list[float]:
    """Ask one after the other; return the seconds of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request("POST", "/v1/depth", body=photo, headers={"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"the service returned {response.status}")
        taken.append(time.perf_counter() - began)
    connection.close()
    return taken


def _count(port: int, photo: bytes, threads: int, seconds: float) -> int:
    with ThreadPoolExecutor(threads) as pool:
        return sum(len(taken) for taken in pool.map(lambda _: _ask(port, photo, seconds), range(threads)))
