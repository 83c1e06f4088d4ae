"""Every output format, over every transport: the bytes are the codec's own."""

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from email import message_from_bytes
from pathlib import Path

import cv2
import grpc
import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.client import connect

from depth_client import AsyncDepthClient
from service.codec.encode import EncodeOptions, encode_depth
from service.codec.point_cloud import intrinsics_of
from service.contract.formats import Format
from service.contract.request import FieldOfView
from service.predict.command import main
from service.rpc.pb import depth_pb2, inference_pb2
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import both_transports, settings

HEIGHT, WIDTH = 60, 90
PIXELS = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8),
    (WIDTH, HEIGHT),
    interpolation=cv2.INTER_CUBIC,
)
LENS = FieldOfView(horizontal_deg=70.0)
DEPTHS = [format_ for format_ in Format if format_.spec.content == "depth"]


def photograph() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


PHOTO = photograph()


class Service:
    """An engine whose backend computes nothing, behind real servers."""

    def __init__(self, http_port: int, grpc_port: int) -> None:
        self.http, self.grpc = f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"

    async def post(self, path: str, **request: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://{self.http}") as client:
            response = await client.post(path, **request)
        assert response.status_code == 200, response.text
        return response


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors", metres_per_unit=0.25)
    return folder


@pytest.fixture
async def service(models: Path) -> AsyncIterator[Service]:
    chosen = settings(models=models, backend="simulated", watch_interval_s=0.0, codec_threads=1)
    async with both_transports(chosen) as ports:
        yield Service(*ports)


def written(format_: Format, depth: np.ndarray) -> bytes:
    """What the codec writes of a depth map of the whole photograph."""
    lens = intrinsics_of(LENS, HEIGHT, WIDTH)
    return encode_depth(depth, format_, EncodeOptions(unit="metre", intrinsics=lens, rgb=PIXELS))


def bare(content: bytes) -> bytes:
    """A file without what it says of its depth; anything else as it is."""
    if content.startswith(b"ply"):
        head, end, body = content.partition(b"end_header\n")
        kept = [line for line in head.splitlines(keepends=True) if not line.startswith(b"comment")]
        return b"".join([*kept, end, body])
    if content.startswith(b"{"):
        told = json.loads(content)
        return json.dumps({name: told[name] for name in ("height", "width", "unit", "depth")}).encode()
    if not content.startswith(b"\x89PNG"):
        return content
    kept, place = [content[:8]], 8
    while place < len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4])
        if content[place + 4 : place + 8] != b"tEXt":
            kept.append(content[place:end])
        place = end
    return b"".join(kept)


async def over_query(service: Service, format_: Format) -> bytes:
    return (await service.post(f"/v1/depth?format={format_}&fov_deg=70", content=PHOTO)).content


async def over_form(service: Service, format_: Format) -> bytes:
    form = {"format": str(format_), "fov_deg": "70"}
    return (await service.post("/v1/depth", files={"image": PHOTO}, data=form)).content


async def over_batch(service: Service, format_: Format) -> bytes:
    response = await service.post(
        f"/v1/depth/batch?format={format_}&fov_deg=70", files=[("image", PHOTO), ("image", PHOTO)]
    )
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    first, second = (
        part.get_payload(decode=True) for part in message_from_bytes(head + response.content).get_payload()
    )
    assert first == second
    return first


async def over_websocket(service: Service, format_: Format) -> bytes:
    async with connect(f"ws://{service.http}/v1/stream?format={format_}&fov_deg=70") as socket:
        await socket.send(PHOTO)
        assert json.loads(await socket.recv())["media_type"] == format_.spec.media_type
        body = await socket.recv()
    assert isinstance(body, bytes)
    return body


def grpc_options(format_: Format) -> depth_pb2.Options:
    lens = depth_pb2.Lens(horizontal_fov_deg=70)
    return depth_pb2.Options(format=f"FORMAT_{format_.name}", lens=lens)


async def over_grpc(service: Service, format_: Format) -> bytes:
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        asked = depth_pb2.PredictRequest(image=PHOTO, options=grpc_options(format_))
        response = await DepthStub(channel).Predict(asked)
    assert response.format == format_.spec.number
    return response.data


async def over_grpc_stream(service: Service, format_: Format) -> bytes:
    config = depth_pb2.StreamConfig(options=grpc_options(format_))
    frame = depth_pb2.Frame(id=7, image=PHOTO)
    asked = [depth_pb2.StreamRequest(config=config), depth_pb2.StreamRequest(frame=frame)]
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        [response] = [each async for each in DepthStub(channel).Stream(iter(asked))]
    return response.depth.data


async def over_client(service: Service, format_: Format, scheme: str) -> bytes:
    address = service.http if scheme == "http" else service.grpc
    async with AsyncDepthClient(f"{scheme}://{address}") as client:
        answer = await client.encode(PHOTO, format_, lens=LENS)
    assert (answer.media_type, answer.dtype) == (format_.spec.media_type, format_.spec.dtype)
    assert (answer.scale, answer.invalid) == (format_.spec.scale, format_.spec.invalid)
    return answer.body


Way = Callable[[Service, Format], Awaitable[bytes]]
WAYS: dict[str, Way] = {
    "query": over_query,
    "form": over_form,
    "batch": over_batch,
    "websocket": over_websocket,
    "grpc": over_grpc,
    "grpc stream": over_grpc_stream,
    "client over http": lambda service, format_: over_client(service, format_, "http"),
    "client over grpc": lambda service, format_: over_client(service, format_, "grpc"),
}


async def depth_of(service: Service) -> np.ndarray:
    exact = await over_query(service, Format.FLOAT32)
    return np.frombuffer(exact, "<f4").reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize("way", WAYS)
async def test_every_format_comes_as_the_codec_writes_it(service: Service, way: str) -> None:
    depth = await depth_of(service)
    assert 0 < depth.min() < depth.max()
    for format_ in Format:
        assert bare(await WAYS[way](service, format_)) == bare(written(format_, depth)), format_


async def test_a_media_type_in_accept_stands_for_the_first_format_that_has_it(service: Service) -> None:
    depth = await depth_of(service)
    first = {name: format_ for format_ in reversed(Format) for name in format_.spec.media_types}
    for media_type, format_ in first.items():
        headers = {"accept": media_type.upper()}
        response = await service.post("/v1/depth?fov_deg=70", content=PHOTO, headers=headers)
        assert bare(response.content) == bare(written(format_, depth)), media_type
        assert response.headers["content-type"] == format_.spec.media_type


async def test_the_inference_protocol_gives_the_floats_of_float32(service: Service) -> None:
    depth = await depth_of(service)
    request = {
        "inputs": [
            {
                "name": "image",
                "shape": [1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": len(PHOTO) + 4},
            }
        ],
        "outputs": [{"name": "depth", "parameters": {"binary_data": True}}],
    }
    head, raw = json.dumps(request).encode(), len(PHOTO).to_bytes(4, "little") + PHOTO
    headers = {"inference-header-content-length": str(len(head))}
    response = await service.post("/v2/models/student/infer", content=head + raw, headers=headers)
    length = int(response.headers["inference-header-content-length"])
    assert response.content[length:] == written(Format.FLOAT32, depth)

    asked = inference_pb2.ModelInferRequest(model_name="student", raw_input_contents=[raw])
    asked.inputs.add(name="image", datatype="BYTES", shape=[1])
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        answer = await GRPCInferenceServiceStub(channel).ModelInfer(asked)
    assert answer.raw_output_contents[0] == written(Format.FLOAT32, depth)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_the_client_reads_every_format_that_holds_depth(service: Service, scheme: str) -> None:
    depth = await depth_of(service)
    address = service.http if scheme == "http" else service.grpc
    async with AsyncDepthClient(f"{scheme}://{address}") as client:
        for format_ in DEPTHS:
            result = await client.predict(PHOTO, wire=format_)
            async for frame in client.stream([PHOTO], wire=format_.value):
                np.testing.assert_array_equal(frame.unwrap().depth, result.depth)
            step = format_.spec.scale / 2 if format_.spec.scale < 1 else 0.0
            relative = 1e-3 if format_.spec.dtype == "<f2" else 1e-6
            np.testing.assert_allclose(result.depth, depth, rtol=relative, atol=step * 1.01, err_msg=format_)


def test_depth_predict_writes_every_format(models: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PHOTO)
    usual = ["--backend", "torch", "--device", "cpu", "--checkpoint", str(models / "student.safetensors")]
    formats = ["--formats", *Format, "--fov-deg", "70"]
    main([*usual, "--output", str(tmp_path / "out"), *formats, str(tmp_path / "photo.png")])
    exact = (tmp_path / "out" / f"photo{Format.FLOAT32.spec.suffix}").read_bytes()
    depth = np.frombuffer(exact, "<f4").reshape(HEIGHT, WIDTH)
    for format_ in Format:
        content = (tmp_path / "out" / f"photo{format_.spec.suffix}").read_bytes()
        assert bare(content) == bare(written(format_, depth)), format_


async def test_the_page_offers_every_format(service: Service) -> None:
    async with httpx.AsyncClient(base_url=f"http://{service.http}") as client:
        script = (await client.get("/static/formats.js")).text
    offered = json.loads(script.removeprefix("export const FORMATS = ").removesuffix(";\n"))
    assert {name: entry[2] for name, entry in offered.items()} == {one: one.spec.suffix for one in Format}


def test_each_format_has_its_number_in_grpc_s_contract_and_a_suffix_of_its_own() -> None:
    numbers = {f"FORMAT_{format_.name}": format_.spec.number for format_ in Format}
    assert dict(depth_pb2.Format.items()) == {"FORMAT_UNSPECIFIED": 0, **numbers}
    assert len({format_.spec.suffix for format_ in Format}) == len(Format)


LENSES = [
    {"fov_deg": 0.1},
    {"fov_deg": 179},
    {"fx_px": 1e-3, "fy_px": 1e-3, "cx_px": -1e7, "cy_px": 1e7},
    {"fx_px": 1e7, "fy_px": 1e-3, "cx_px": 1e7, "cy_px": -1e7},
]
EXTREMES = [
    *({**lens, "format": "ply"} for lens in LENSES),
    *({**lens, "camera_height_m": height} for lens in LENSES for height in (1e-3, 1e6)),
    *(
        {"known_x_px": 0, "known_y_px": 0, "known_distance_m": metres, "format": format_}
        for metres in (1e-3, 1e6)
        for format_ in Format
        if format_ is not Format.PLY
    ),
    {"format": "color", "near": 1e-6},
    {"format": "color", "far": 1e9},
    {"format": "color", "near": 1e-6, "far": 1e9},
    {"format": "color", "near": 1e9},
    {"format": "color", "far": 1e-6},
]


async def test_numbers_at_the_ends_of_their_bounds_give_depth_or_are_refused_for_a_reason(
    service: Service,
) -> None:
    """Never an error of ours, and never a depth of nothing."""
    async with httpx.AsyncClient(base_url=f"http://{service.http}") as client:
        for given in EXTREMES:
            response = await client.post("/v1/depth", params=given, content=PHOTO)
            assert response.status_code in (200, 400), (given, response.text)
            if response.status_code == 200 and response.headers["x-depth-invalid"] == "none":
                low, high = (float(response.headers[f"x-depth-{end}"]) for end in ("min", "max"))
                assert 0 < low <= high < np.inf, (given, low, high)
                dtype = response.headers["x-depth-dtype"]
                if response.headers["content-type"] == "application/octet-stream":
                    values = np.frombuffer(response.content, dtype)
                    assert (np.isfinite(values) & (values > 0)).all(), given
