"""Distances to places, as each transport returns them."""

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import websockets

from depth_client import AsyncDepthClient, Regions, SparseDepth
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.service.lenses import (
    HEIGHT,
    LENS,
    PHOTO,
    TRAINED,
    WIDTH,
    asked,
    floats,
    opened,
    png,
    sparse,
    write_models,
)
from tests.service.opened import grpc_channel, http_client, http_server

BOXES = ((10.0, 20.0, 30.0, 50.0), (60.0, 5.0, 100.0, 110.0))
REGIONS = Regions(points=((30, 40),), boxes=BOXES, polygons=(((0, 0), (40, 0), (0, 40)),))
PLAIN = {"points": [[30, 40]], "boxes": BOXES, "polygons": [[[0, 0], [40, 0], [0, 40]]]}
TEXTS = {kind: json.dumps(given) for kind, given in PLAIN.items()}
QUERY = {"fx_px": 150, "fy_px": 240, "cx_px": 90, "cy_px": 60, "model": "student"}


def told_by(told: Mapping[str, Any]) -> list[float]:
    return [each["median"] for kind in ("points", "boxes", "polygons") for each in told[kind]]


def measured_by(distances: Any) -> list[float]:
    return [each.median for kind in ("points", "boxes", "polygons") for each in getattr(distances, kind)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


async def test_distances_are_the_map_s_figures_over_every_transport(folder: Path) -> None:
    async with opened(folder) as frontend:
        depth = floats(await asked(frontend, lens=LENS))
        expected = [float(depth[40, 30]), *(float(np.median(depth[20:50, 10:30])),)]
        expected += [float(np.median(depth[5:110, 60:100]))]
        found: dict[str, list[float]] = {}
        async with http_client(frontend) as client:
            form = {**TEXTS, **{name: str(value) for name, value in QUERY.items()}}
            by_form = await client.post("/v1/distances", files={"image": png()}, data=form)
            by_query = await client.post("/v1/distances", params={**QUERY, **TEXTS}, content=png())
            found |= {"form": told_by(by_form.json()), "query": told_by(by_query.json())}
            infer = {
                "inputs": [{"name": "rgb_uint8", "shape": [1, *PHOTO.shape], "datatype": "UINT8",
                            "data": PHOTO.ravel().tolist()}],
                "parameters": {**TEXTS, **{key: val for key, val in QUERY.items() if key != "model"}},
            }  # fmt: skip
            by_v2 = await client.post("/v2/models/student/infer", json=infer)
            assert by_v2.status_code == 200, by_v2.text
            parameters = by_v2.json()["outputs"][0]["parameters"]
            found["v2"] = told_by(json.loads(parameters["distances"])[0])
        assert by_form.json()["scale_source"] == by_form.headers["x-depth-scale-source"] == "checkpoint+lens"
        assert by_form.headers["x-depth-fy-per-height"] == "2"
        assert parameters["fy_per_height"] == 2.0
        async with http_server(frontend) as port:
            found["websocket"] = await by_websocket(port)
            async with AsyncDepthClient(f"http://127.0.0.1:{port}") as client:
                found["client, HTTP"], found["client, its stream"] = await by_client(client)
        async with grpc_channel(frontend) as channel:
            request = pb.PredictRequest(image=png(), options=pb.Options(model="student"))
            request.regions.boxes.add(left_px=10, top_px=20, right_px=30, bottom_px=50)
            response = await DepthStub(channel).Predict(request)
            assert response.distances.boxes[0].median == pytest.approx(expected[1] * TRAINED / 2)
            assert not response.data
            assert response.fy_per_height == TRAINED
    for way, medians in found.items():
        assert medians[:3] == pytest.approx(expected, rel=5e-4), way
        assert len(medians) == 4, way


async def by_websocket(port: int) -> list[float]:
    query = httpx.QueryParams(QUERY)
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/stream?{query}") as socket:
        await socket.send(json.dumps(PLAIN))
        await socket.send(png())
        await socket.send(png())
        told = json.loads(await socket.recv())
        plain = json.loads(await socket.recv())
        assert "distances" not in plain
        assert isinstance(await socket.recv(), bytes)
        await socket.send("end")
    return told_by(told["distances"])


async def by_client(client: AsyncDepthClient) -> tuple[list[float], list[float]]:
    once = await client.distances(png(), REGIONS, lens=LENS, model="student")
    assert (once.unit, once.scale_source, once.fy_per_height) == ("metre", "checkpoint+lens", 2.0)
    frames = [png(), png()]
    stream = client.stream(
        frames, regions_of=lambda frame: REGIONS if frame is frames[1] else None, lens=LENS, model="student"
    )
    results = [each async for each in stream]
    assert results[0].result is not None
    assert results[0].result.fy_per_height == 2.0
    assert results[1].distances is not None
    return measured_by(once.distances), measured_by(results[1].distances.distances)


async def test_regions_of_a_frame_go_over_grpc_too(folder: Path) -> None:
    async with opened(folder) as frontend, grpc_channel(frontend) as channel:

        async def messages() -> AsyncIterator[pb.StreamRequest]:
            yield pb.StreamRequest(config=pb.StreamConfig(options=pb.Options(model="student")))
            for number in range(2):
                message = pb.StreamRequest(frame=pb.Frame(id=number, image=png()))
                if number:
                    message.frame.regions.points.add(x_px=30, y_px=40)
                yield message

        plain, measured = [each async for each in DepthStub(channel).Stream(messages())]
    assert plain.depth.data
    assert not plain.depth.HasField("distances")
    assert measured.depth.distances.points[0].median == pytest.approx(2 * 256 / 81, rel=0.01)


async def test_a_bad_box_is_a_400_with_its_index(folder: Path) -> None:
    async with opened(folder) as frontend:
        async with http_client(frontend) as client:
            for boxes, says in (
                ("[[0, 0, 1, 1], [5, 5, 4, 9]]", "boxes[1] is"),
                ("[[999, 0, 1000, 1]]", "boxes[0] lies"),
            ):
                bad = await client.post("/v1/distances", params={"boxes": boxes}, content=png())
                assert bad.status_code == 400
                assert says in bad.json()["error"]["message"]
            none = await client.post("/v1/distances", content=png())
            assert none.status_code == 400
            assert "expected points, boxes or polygons" in none.json()["error"]["message"]
        async with grpc_channel(frontend) as channel:
            request = pb.PredictRequest(image=png())
            request.regions.boxes.add(left_px=3, right_px=1)
            with pytest.raises(grpc.aio.AioRpcError, match=r"boxes\[0\] is") as caught:
                await DepthStub(channel).Predict(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_sparse_depth_image_goes_over_http_and_grpc(folder: Path) -> None:
    metres = np.zeros((HEIGHT, WIDTH))
    metres[10::20, ::9] = (3.0 * 256 / (41 + np.arange(HEIGHT)))[10::20, None]
    async with opened(folder) as frontend:
        async with http_client(frontend) as client:
            files = {"image": png(), "sparse_depth": ("s.png", sparse(metres * 2))}
            data = {"sparse_depth_steps_per_metre": "512", "model": "student"}
            by_form = await client.post("/v1/depth", files=files, data=data)
            beside = await client.post(
                "/v1/depth", files=files, data={"known_points": "1,2,3", "model": "student"}
            )
        async with http_server(frontend) as port, AsyncDepthClient(f"http://127.0.0.1:{port}") as client:
            anchor = SparseDepth(png=sparse(metres))
            by_client = await client.predict(png(), anchor=anchor, model="student")
        async with grpc_channel(frontend) as channel:
            request = pb.PredictRequest(image=png(), options=pb.Options(model="student"))
            request.sparse_depth.png = sparse(metres)
            by_grpc = await DepthStub(channel).Predict(request)
    assert by_form.status_code == 200
    assert by_form.headers["x-depth-fit"].split()[0] == str(np.count_nonzero(metres))
    assert beside.status_code == 400
    assert by_client.fit is not None
    assert by_client.fit.points == by_grpc.fit.points == np.count_nonzero(metres)
    assert by_client.uncertainty == pytest.approx(by_grpc.uncertainty, rel=0.01)


async def test_a_sparse_depth_image_goes_with_each_image_of_a_batch_and_over_the_protocol_v2(
    folder: Path,
) -> None:
    metres = np.zeros((HEIGHT, WIDTH))
    metres[10::20, ::9] = (3.0 * 256 / (41 + np.arange(HEIGHT)))[10::20, None]
    few = metres * (np.arange(WIDTH) < WIDTH // 2)
    parts = [("image", png()), ("sparse_depth", sparse(metres))]
    parts += [("image", png()), ("sparse_depth", sparse(few))]
    files = [(name, ("a.png", body)) for name, body in parts]
    request = inference_pb2.ModelInferRequest(model_name="student")
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(len(png()).to_bytes(4, "little") + png())
    request.parameters["sparse_depth"].string_param = b64encode(sparse(metres)).decode()
    async with opened(folder) as frontend:
        async with http_client(frontend) as client:
            batch = await client.post("/v1/depth/batch", files=files, data={"model": "student"})
            uneven = await client.post("/v1/depth/batch", files=files[:3], data={"model": "student"})
        async with grpc_channel(frontend) as channel:
            stub = GRPCInferenceServiceStub(channel)
            by_v2 = await stub.ModelInfer(request)
            request.parameters["sparse_depth"].string_param = "no base64!"
            with pytest.raises(grpc.aio.AioRpcError, match="no base64"):
                await stub.ModelInfer(request)
    fits = re.findall(rb"(?i)x-depth-fit: (\d+)", batch.content)
    assert [int(points) for points in fits] == [np.count_nonzero(metres), np.count_nonzero(few)]
    assert uneven.status_code == 400
    assert "1 times for 2 images" in uneven.text
    told = by_v2.outputs[0].parameters["fit_points"]
    assert int(getattr(told, told.WhichOneof("parameter_choice"))) == np.count_nonzero(metres)
