"""Every real frame over both transports, and a spread of them in every format, held to the eager network."""

import io
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import grpc
import httpx
import imagecodecs
import numpy as np
import orjson
import pytest

from model.predictor import Predictor
from service.contract.request import Format
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from tests.assets import shared
from tests.e2e.process import ROOT, SERVE, Process, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.xdist_group("e2e-frames")]

STUDENT = ROOT / "model" / "pretrained" / "student.safetensors"
IN_EVERY_FORMAT = int(os.environ.get("DEPTH_TEST_FRAMES_IN_EVERY_FORMAT", "30"))
"""How many frames go through every format, spread evenly; `100000` means all of them."""
EVERY_FRAME = bool(os.environ.get("DEPTH_TEST_EVERY_FRAME"))
"""Whether all frames go through both transports, ten minutes of both cores; as few as above otherwise."""
AT_ONCE = 4
"""So many callers that the service has batches to make."""
FOV_DEG = 81.0
_VERTEX = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", 3)])


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A photograph and what the eager network says of it."""

    name: str
    jpeg: bytes
    rgb: np.ndarray
    expected: np.ndarray


class Both:
    """The two transports of a running service, asked for the same."""

    def __init__(self, process: Process) -> None:
        self._http = httpx.Client(base_url=process.url, timeout=120)
        no_limit = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}", options=no_limit)
        self._stub = DepthStub(self._channel)

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def ask(self, frame: Frame, format_: Format, size: str = "input") -> tuple[bytes, httpx.Headers]:
        """Return the bytes that both transports agree on, and HTTP's headers."""
        query = {"format": str(format_), "size": size, "fov_deg": str(FOV_DEG)}
        over_http = self._http.post("/v1/depth", params=query, content=frame.jpeg)
        assert over_http.status_code == 200, f"{frame.name} as {format_}: {over_http.text}"
        options = pb.Options(
            format=pb.Format.Value(f"FORMAT_{format_.upper()}"),
            size=pb.Size.Value(f"SIZE_{size.upper()}"),
            lens=pb.Lens(horizontal_fov_deg=FOV_DEG),
        )
        question = pb.PredictRequest(image=frame.jpeg, options=options)
        over_grpc = self._stub.Predict(question, timeout=120)
        assert over_grpc.data == over_http.content, f"{frame.name} as {format_}: the transports differ"
        assert over_grpc.scale == float(over_http.headers["x-depth-scale"])
        return over_http.content, over_http.headers


def stored(format_: Format, body: bytes, height: int, width: int) -> np.ndarray:
    """Read a format as its users do, without a line of ours."""
    if format_ in (Format.PNG16, Format.PNG16_MM, Format.COLOR):
        return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if format_ == Format.JXL:
        return imagecodecs.jpegxl_decode(body)
    if format_ == Format.NPY:
        return np.load(io.BytesIO(body))
    if format_ == Format.JSON:
        return np.array(orjson.loads(body)["depth"], np.float32)
    if format_ == Format.PLY:
        return np.frombuffer(body, _VERTEX, offset=body.index(b"end_header\n") + 11).reshape(height, width)
    dtype = {Format.FLOAT32: "<f4", Format.FLOAT16: "<f2", Format.UINT16_MM: "<u2"}[format_]
    return np.frombuffer(body, dtype).reshape(height, width)


def check_format(frame: Frame, format_: Format, both: Both, exact: np.ndarray) -> None:
    """Hold an answer in one format to the same depth in float32: no farther off than the format's step."""
    size = "model" if format_ == Format.JSON else "input"
    if size == "model":
        exact = np.load(io.BytesIO(both.ask(frame, Format.NPY, size)[0]))
    body, headers = both.ask(frame, format_, size)
    values = stored(format_, body, *exact.shape)
    assert values.shape[:2] == exact.shape, f"{frame.name} as {format_}"
    if format_ == Format.COLOR:
        assert values.shape[2] == 3
        return
    if format_ == Format.PLY:
        assert np.array_equal(values["rgb"], frame.rgb), frame.name
        values = values["z"]
    depth = values.astype(np.float64) * float(headers["x-depth-scale"])
    there = values != 0 if headers["x-depth-invalid"] == "0" else np.isfinite(depth)
    off = np.abs(depth - exact)[there]
    step = {Format.PNG16: 1 / 256, Format.JXL: 1 / 256, Format.UINT16_MM: 1e-3, Format.PNG16_MM: 1e-3}
    most = step[format_] * 0.51 if format_ in step else 2**-10 * depth[there] * (format_ == Format.FLOAT16)
    assert (off <= most).all(), f"{frame.name} as {format_}: {off.max()} off"
    assert (exact[~there] > 65.5).all(), f"{frame.name} as {format_}: lacks depth that it could hold"


class Eager:
    """The eager network, for one caller at a time, in metres through the lens that the service is told of."""

    def __init__(self, checkpoint: Path) -> None:
        self._predictor = Predictor.from_checkpoint(checkpoint)
        self._scale = self._predictor.scale
        self._turn = threading.Lock()

    def look(self, path: Path) -> Frame:
        jpeg = path.read_bytes()
        rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        with self._turn:
            [expected] = self._predictor.predict([rgb])
        height, width = expected.shape
        expected *= self._scale.lens_factor(width / 2 / math.tan(math.radians(FOV_DEG / 2)) / height) or 1.0
        return Frame(name=str(path.relative_to(shared("data"))), jpeg=jpeg, rgb=rgb, expected=expected)


@pytest.fixture(scope="module")
def frames() -> list[Path]:
    """The photographs of the data set that tests may use, by name."""
    found = sorted(path for path in shared("data").rglob("*.jpg") if "image_" in str(path.parent))
    assert len(found) > 100
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with running(SERVE, DEPTH_MODELS=STUDENT, DEPTH_CACHE_DIR=tmp_path_factory.mktemp("cache")) as process:
        transports = Both(process)
        yield transports
        transports.close()


@pytest.fixture(scope="module")
def exactly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The same in float32."""
    cache = tmp_path_factory.mktemp("exactly")
    with running(SERVE, DEPTH_MODELS=STUDENT, DEPTH_CACHE_DIR=cache, DEPTH_PRECISION="float32") as process:
        transports = Both(process)
        yield transports
        transports.close()


@pytest.fixture(scope="module")
def eager() -> Eager:
    return Eager(STUDENT)


def over(frames: Sequence[Path], check: object) -> list[object]:
    """Check frames beside each other; the first fault is raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(check, frames, range(len(frames))))


def off_by(frame: Frame, depth: np.ndarray) -> tuple[float, float]:
    """The relative difference from the eager network: the median over pixels, and the 99th percentile."""
    off = np.abs(depth - frame.expected) / frame.expected
    return float(np.median(off)), float(np.quantile(off, 0.99))


def test_frames_are_answered_by_both_transports_alike_and_as_the_eager_network_answers(
    frames: list[Path], both: Both, eager: Eager
) -> None:
    """In float32 as a format, and in one format more, which goes round from frame to frame.

    Where `DEPTH_PRECISION` is bfloat16, edges differ, and now and then one thing that the network cannot make
    out (the dark inside of a lorry is as deep as its floor, or as near as its sides) tips over as a whole.
    """
    others = [format_ for format_ in Format if format_ != Format.NPY]

    def check(path: Path, number: int) -> tuple[float, float]:
        frame = eager.look(path)
        exact = np.load(io.BytesIO(both.ask(frame, Format.NPY)[0]))
        check_format(frame, others[number % len(others)], both, exact)
        return off_by(frame, exact)

    chosen = frames if EVERY_FRAME else frames[:: max(1, len(frames) // IN_EVERY_FORMAT)]
    medians, tails = np.array(over(chosen, check)).T
    said = f"{len(chosen)} frames; the worst is off by {medians.max():.4f} (median), {tails.max():.4f} (99 %)"
    print(said, f"{(tails > 0.2).sum()} over 0.2")
    assert medians.max() < 0.02, said
    assert np.quantile(tails, 0.9) < 0.2, said


def test_frames_are_answered_in_float32_to_a_ten_thousandth_of_the_eager_network(
    frames: list[Path], exactly: Both, eager: Eager
) -> None:
    chosen = frames[:: max(1, len(frames) // IN_EVERY_FORMAT)]

    def check(path: Path, _: int) -> None:
        frame = eager.look(path)
        _, tail = off_by(frame, np.load(io.BytesIO(exactly.ask(frame, Format.NPY)[0])))
        assert tail < 1e-4, frame.name

    over(chosen, check)


def test_a_spread_of_frames_is_answered_by_both_transports_alike_in_every_format(
    frames: list[Path], both: Both, eager: Eager
) -> None:
    chosen = frames[:: max(1, len(frames) // IN_EVERY_FORMAT)]

    def check(path: Path, _: int) -> None:
        frame = eager.look(path)
        exact = np.load(io.BytesIO(both.ask(frame, Format.NPY)[0]))
        for format_ in Format:
            check_format(frame, format_, both, exact)

    over(chosen, check)
    print(f"{len(chosen)} frames in {len(Format)} formats")
