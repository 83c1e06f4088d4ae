"""A real checkpoint behind real transports, asked by real clients."""

import asyncio
import io
import json
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from model.predictor import Predictor
from service.rest.openapi import DESCRIPTION
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint

# One worker has them all, because making a model ready takes a process with torch in it.
pytestmark = [pytest.mark.xdist_group("e2e-depth"), pytest.mark.timeout(400)]

WIDTH, HEIGHT = 250, 130
LENS = pb.Lens(horizontal_fov_deg=90)


def photo(kind: str = "JPEG", shift: int = 0) -> bytes:
    """A photograph of sorts: smooth, coloured, and different for every shift."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([rows, columns, (rows + columns + shift) % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "tiny.safetensors", metres_per_unit=1.0)
    with running(
        SERVE,
        DEPTH_MODELS=folder,
        DEPTH_CACHE_DIR=tmp_path_factory.mktemp("cache"),
        DEPTH_BACKEND="openvino",
        DEPTH_THREADS=1,
        DEPTH_MAX_IMAGE_PIXELS=1_000_000,
    ) as running_process:
        yield running_process


@pytest.fixture(scope="module")
def predictor(process: Process, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """The eager network of the same weights."""
    checkpoint = tmp_path_factory.mktemp("eager") / "tiny.safetensors"
    return Predictor.from_checkpoint(write_checkpoint(checkpoint, metres_per_unit=1.0))


def figure(process: Process, name: str, **labels: str) -> float:
    """Add up the samples of a figure whose labels agree."""
    text = httpx.get(f"{process.url}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """Return who still runs, a second after the parent's end; the dead may wait to be buried."""
    _, left = psutil.wait_procs(family, timeout=1)
    return [child for child in left if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def depth_of(process: Process, image: bytes, format_: str = "png16", size: str = "input") -> bytes:
    """Ask for one image, alone."""
    answer = httpx.post(f"{process.url}/v1/depth?format={format_}&size={size}", content=image)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_the_same_image_gives_the_same_bytes_through_both_transports_in_every_format(
    process: Process,
) -> None:
    image = photo()
    options = (("grpc.max_receive_message_length", -1),)
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}", options=options) as channel:
        for wire in pb.Format.values()[1:]:
            name = pb.Format.Name(wire).removeprefix("FORMAT_").lower()
            over_http = httpx.post(f"{process.url}/v1/depth?format={name}&fov_deg=90", content=image)
            assert over_http.status_code == 200, over_http.text
            asked = pb.Options(format=wire, lens=LENS)
            over_grpc = DepthStub(channel).Predict(pb.PredictRequest(image=image, options=asked))
            assert over_grpc.data == over_http.content
            assert over_grpc.media_type == over_http.headers["content-type"]
            assert over_grpc.scale == float(over_http.headers["x-depth-scale"])
            for end, header in ((over_grpc.minimum, "x-depth-min"), (over_grpc.maximum, "x-depth-max")):
                assert end == pytest.approx(float(over_http.headers[header]), rel=1e-5)
            assert (over_grpc.unit, over_http.headers["x-depth-unit"]) == (pb.UNIT_METRE, "metre")


def test_what_is_stored_times_the_scale_is_the_depth(process: Process) -> None:
    maps = {}
    for name in ("png16", "npy", "float32", "uint16_mm"):
        answer = httpx.post(f"{process.url}/v1/depth?format={name}", content=photo())
        if name == "png16":
            stored = np.asarray(Image.open(io.BytesIO(answer.content)))
        elif name == "npy":
            stored = np.load(io.BytesIO(answer.content))
        else:
            stored = np.frombuffer(answer.content, answer.headers["x-depth-dtype"])
        stored = stored.reshape(int(answer.headers["x-depth-height"]), int(answer.headers["x-depth-width"]))
        assert stored.shape == (HEIGHT, WIDTH)
        maps[name] = stored.astype(np.float64) * float(answer.headers["x-depth-scale"])
        assert maps[name].min() == pytest.approx(float(answer.headers["x-depth-min"]), abs=4e-3)
        assert maps[name].max() == pytest.approx(float(answer.headers["x-depth-max"]), rel=1e-3)
    for depth in maps.values():
        assert np.abs(depth - maps["npy"]).max() <= 2.1e-3


def saved(pixels: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    pixels.save(file, kind, **options)
    return file.getvalue()


def kinds() -> dict[str, tuple[bytes, np.ndarray]]:
    """Photographs of every kind that is taken, each with the upright RGB that it means."""
    rgb = np.asarray(Image.open(io.BytesIO(photo("PNG"))))
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    veil = np.linspace(0, 255, WIDTH).astype(np.uint8)[None].repeat(HEIGHT, axis=0)
    seen = np.round(rgb * (veil[..., None] / 255) + 255 - veil[..., None]).astype(np.uint8)
    veiled = Image.fromarray(np.dstack([rgb, veil]))
    ink = Image.fromarray(rgb).convert("CMYK")
    lying = Image.Exif()
    lying[0x0112] = 6  # to be turned by a quarter, clockwise
    exact = {"lossless": True, "exact": True}
    return {
        "JPEG": (saved(Image.fromarray(rgb), "JPEG", quality=100), rgb),
        "WebP": (saved(Image.fromarray(rgb), "WEBP", quality=100), rgb),
        "lossless WebP": (saved(Image.fromarray(rgb), "WEBP", lossless=True), rgb),
        "grey JPEG": (saved(Image.fromarray(grey), "JPEG", quality=100), grey[..., None].repeat(3, axis=2)),
        "16-bit PNG": (
            saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
            grey[..., None].repeat(3, axis=2),
        ),
        "PNG with transparency": (saved(veiled, "PNG"), seen),
        "WebP with transparency": (saved(veiled, "WEBP", **exact), seen),
        "CMYK JPEG": (saved(ink, "JPEG", quality=100), np.asarray(ink.convert("RGB"))),
        "JPEG on its side": (
            saved(Image.fromarray(rgb), "JPEG", quality=100, exif=lying),
            np.ascontiguousarray(np.rot90(rgb, -1)),
        ),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_photograph_is_read_alike_by_both_transports_and_as_it_was_meant(
    process: Process, predictor: Predictor, kind: str
) -> None:
    image, meant = kinds()[kind]
    over_http = httpx.post(f"{process.url}/v1/depth?format=npy", content=image)
    assert over_http.status_code == 200, over_http.text
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
        asked = pb.PredictRequest(image=image, options=pb.Options(format=pb.FORMAT_NPY))
        assert DepthStub(channel).Predict(asked).data == over_http.content
    depth = np.load(io.BytesIO(over_http.content))
    [expected] = predictor.predict([meant])
    assert depth.shape == expected.shape
    assert np.median(np.abs(depth - expected) / expected) < 0.02


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"no image", 422, "invalid_image"),
        (photo()[: len(photo()) // 2], 422, "invalid_image"),
        (b"\xff\xd8\xff" + bytes(1000), 422, "invalid_image"),
        (photo("GIF"), 422, "invalid_image"),
    ],
    ids=["junk", "cut off", "hollow", "another kind"],
)
def test_what_is_no_photograph_is_refused_through_both_transports(
    process: Process, image: bytes, status: int, code: str
) -> None:
    over_http = httpx.post(f"{process.url}/v1/depth", content=image)
    assert (over_http.status_code, over_http.json()["error"]["code"]) == (status, code)
    with (
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        DepthStub(channel).Predict(pb.PredictRequest(image=image))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == over_http.json()["error"]["message"]


def test_an_image_of_too_many_pixels_is_refused_by_its_header(process: Process) -> None:
    file = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(file, "PNG")
    answer = httpx.post(f"{process.url}/v1/depth", content=file.getvalue())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image_too_large")


async def test_requests_that_come_together_are_answered_together_each_with_its_own_answer(
    process: Process,
) -> None:
    images = [photo(shift=shift) for shift in range(0, 256, 16)]
    alone = [depth_of(process, image) for image in images]
    assert len(set(alone)) == len(images)
    batches, images_seen = (figure(process, f"depth_batch_size_{end}") for end in ("count", "sum"))
    async with (
        httpx.AsyncClient(base_url=process.url, timeout=60) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
    ):
        for _ in range(3):
            over_http = [client.post("/v1/depth", content=image) for image in images]
            over_grpc = [DepthStub(channel).Predict(pb.PredictRequest(image=image)) for image in images]
            answers = await asyncio.gather(*over_http, *over_grpc)
            got = [
                answer.content if isinstance(answer, httpx.Response) else answer.data for answer in answers
            ]
            assert got == alone + alone
    batches = figure(process, "depth_batch_size_count") - batches
    images_seen = figure(process, "depth_batch_size_sum") - images_seen
    assert images_seen == 3 * 2 * len(images)
    assert images_seen / batches > 1.1


def test_a_batch_call_answers_image_by_image(process: Process) -> None:
    files = [("image", ("a", photo())), ("image", ("b", b"junk")), ("image", ("c", photo(shift=9)))]
    answer = httpx.post(f"{process.url}/v1/depth/batch", files=files)
    statuses = re.findall(rb"x-depth-status: (\d+)", answer.content)
    assert statuses == [b"200", b"422", b"200"]
    assert httpx.post(f"{process.url}/v1/depth", content=photo()).content in answer.content


async def test_clients_that_hang_up_free_their_places(process: Process) -> None:
    cancelled = figure(process, "depth_requests_cancelled_total")
    body = photo()
    request = b"POST /v1/depth HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    sockets = [socket.create_connection(("127.0.0.1", process.http_port)) for _ in range(40)]
    for each in sockets:
        each.sendall(request)
    for each in sockets:
        each.close()
    for _ in range(100):
        if figure(process, "depth_in_flight") == 0 and figure(process, "depth_queue_length") == 0:
            break
        await asyncio.sleep(0.05)
    assert figure(process, "depth_in_flight") == figure(process, "depth_queue_length") == 0
    assert figure(process, "depth_held_body_bytes") == 0
    assert figure(process, "depth_requests_cancelled_total") > cancelled


async def test_a_video_that_is_not_steadied_has_the_bytes_of_single_images_in_order_over_both_transports(
    process: Process,
) -> None:
    images = [photo(shift=shift) for shift in range(12)]
    alone = [depth_of(process, image) for image in images]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:

        async def frames():
            yield pb.StreamRequest(config=pb.StreamConfig(steadiness=0.0))
            for number, image in enumerate(images):
                yield pb.StreamRequest(frame=pb.Frame(id=number, image=image))

        answers = [answer async for answer in DepthStub(channel).Stream(frames())]
    assert [answer.frame_id for answer in answers] == list(range(12))
    assert all(answer.depth.data == expected for answer, expected in zip(answers, alone, strict=True))
    async with connect(f"ws://127.0.0.1:{process.http_port}/v1/stream?steadiness=0") as stream:
        for image in images:
            await stream.send(image)
        for number, expected in enumerate(alone):
            assert json.loads(await stream.recv())["frame"] == number
            same = await stream.recv() == expected
            assert same, number  # without pytest comparing megabytes


async def test_two_streams_at_once_are_held_each_as_it_is_alone_and_begin_with_raw_depth(
    process: Process,
) -> None:
    videos = [[photo(shift=shift) for shift in shifts] for shifts in ((0, 4, 8, 12), (64, 60, 56, 52))]

    async def held(videos: Sequence[list[bytes]]) -> list[list[np.ndarray]]:
        """Depth of videos whose frames come by turns."""
        maps: list[list[np.ndarray]] = [[] for _ in videos]
        async with AsyncExitStack() as stack:
            url = f"ws://127.0.0.1:{process.http_port}/v1/stream?format=npy&size=model"
            streams = [await stack.enter_async_context(connect(url)) for _ in videos]
            for frames in zip(*videos, strict=True):
                for stream, frame in zip(streams, frames, strict=True):
                    await stream.send(frame)
                for stream, kept in zip(streams, maps, strict=True):
                    await stream.recv()
                    kept.append(np.load(io.BytesIO(await stream.recv())))
        return maps

    together = await held(videos)
    alone = [(await held([video]))[0] for video in videos]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)  # batches of two round otherwise
    for video, maps in zip(videos, together, strict=True):
        raw = np.load(io.BytesIO(depth_of(process, video[0], "npy", size="model")))
        np.testing.assert_allclose(maps[0], raw, rtol=1e-3)


def test_the_examples_of_the_documentation_work_when_pasted(process: Process, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo())
    examples = re.findall(r"^curl .*$", DESCRIPTION, flags=re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        command = shlex.split(example.replace("http://localhost:8000", process.url))
        done = subprocess.run([*command, "-sS", "--fail"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, (example, done.stderr)
    assert (
        Image.open(tmp_path / "depth.png").size
        == Image.open(tmp_path / "preview.png").size
        == (WIDTH, HEIGHT)
    )
    assert np.load(tmp_path / "depth.npy").shape == (HEIGHT, WIDTH)


def test_an_end_while_a_model_is_being_made_ready_leaves_no_child(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "models" / "tiny.safetensors")
    own = Process(
        SERVE,
        {
            "DEPTH_MODELS": str(tmp_path / "models"),
            "DEPTH_CACHE_DIR": str(tmp_path / "cache"),
            "DEPTH_BACKEND": "openvino",
        },
    )
    try:
        own.until(f"exporting {tmp_path}/models/tiny.safetensors for OpenVINO, once")
        assert httpx.get(f"{own.url}/livez").status_code == 200
        assert httpx.get(f"{own.url}/readyz").status_code == 503
        waiting = httpx.post(f"{own.url}/v1/depth", content=photo())
        assert (waiting.status_code, waiting.json()["error"]["code"]) == (503, "not_ready")
        assert int(waiting.headers["retry-after"]) >= 1
        family = psutil.Process(own.pid).children(recursive=True)
        assert family
        own.send(signal.SIGTERM)
        own.wait(20)
        assert not living(family)
    finally:
        own.kill()


def test_the_end_of_a_busy_server_is_orderly(process: Process) -> None:
    """The last of this module: it ends the server that the others ask."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.until("closed")["unanswered"] == 0
    assert not living(family)
    assert not [line for line in process.lines if line["level"] in ("error", "critical")]
