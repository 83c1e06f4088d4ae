"""The service on a Ray cluster of two nodes: what it answers, how it grows, and what it survives."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import cv2
import grpc
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2 as inference_pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub as InferenceStub

pytest.importorskip("ray", reason="Ray is not installed: pip install 'vfm-depth[ray]'")

from tests.e2e.ray_cluster import TwoNodes, two_nodes

# Starting a cluster, and each replica's interpreter, takes many seconds on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_PIXELS = np.random.default_rng(7).integers(0, 255, (90, 160, 3), np.uint8)
PHOTO = cv2.imencode(".png", _PIXELS)[1].tobytes()
SIMULATED = {"backend": "simulated", "hold_s": 0.4}
"""The same for all tests that can do with it: other settings are an update, and start replicas anew."""
UPDATED = SIMULATED | {"queue_items": 200}
TWO = {"min_replicas": 2, "max_replicas": 2}
"""So many leave room for one more, which an update needs that starts new replicas before it ends old ones."""
THREE = {"min_replicas": 3, "max_replicas": 3}
"""So many fill the cluster, the worker too."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    with two_nodes(tmp_path_factory.mktemp("journals")) as nodes:
        yield nodes


@dataclass
class Load:
    """What came of every attempt that its clients made."""

    answered: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Attempts by their ids, and how each failed."""
    wrong: list[str] = field(default_factory=list)
    """Requests that were not answered in the end."""


async def ask_over_http(load: Load, urls: list[str], name: str, done: asyncio.Event) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for number in itertools.count():
            for attempt in range(20):
                request_id = f"{name}-{number}-{attempt}"
                try:
                    answer = await client.post(
                        f"{urls[attempt % len(urls)]}/v1/depth",
                        content=PHOTO,
                        headers={"x-request-id": request_id},
                    )
                    problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"
                except httpx.TransportError as error:
                    problem = repr(error)
                if not problem:
                    load.answered.add(request_id)
                    break
                load.failed[request_id] = problem
                await asyncio.sleep(0.1)
            else:
                load.wrong.append(f"{name}-{number}")
            if done.is_set():
                return


async def ask_over_grpc(load: Load, address: str, name: str, done: asyncio.Event) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        for number in itertools.count():
            for attempt in range(20):
                request_id = f"{name}-{number}-{attempt}"
                metadata = (("x-request-id", request_id),)
                call = DepthStub(channel).Predict(pb.PredictRequest(image=PHOTO), metadata=metadata)
                if await call.code() is grpc.StatusCode.OK:
                    load.answered.add(request_id)
                    break
                load.failed[request_id] = f"{(await call.code()).name} {await call.details()}"
                await asyncio.sleep(0.1)
            else:
                load.wrong.append(f"{name}-{number}")
            if done.is_set():
                return


@asynccontextmanager
async def under_load(cluster: TwoNodes, clients: int, *, other_urls: list[str]) -> AsyncIterator[Load]:
    """Clients that ask again as soon as they are answered, and that ask again where they were not."""
    load, done = Load(), asyncio.Event()
    url = f"http://127.0.0.1:{cluster.http_port}"
    asking = [
        asyncio.ensure_future(ask)
        for index in range(clients)
        for ask in (
            ask_over_http(load, [url], f"http{index}", done),
            ask_over_grpc(load, f"127.0.0.1:{cluster.grpc_port}", f"grpc{index}", done),
            *(ask_over_http(load, [other, url], f"other{index}", done) for other in other_urls),
        )
    ]
    try:
        yield load
    finally:
        done.set()
        await asyncio.gather(*asking)


async def test_it_grows_under_load_onto_the_other_node(cluster: TwoNodes) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 2, "upscale_delay_s": 0.5}
    cluster.deploy(cluster.config(scaling=scaling, **SIMULATED))
    await asyncio.to_thread(cluster.until_running, 1)
    async with under_load(cluster, 4, other_urls=[]) as load:
        await asyncio.to_thread(cluster.until_running, 3)
    assert not load.failed
    assert len(set(cluster.replicas().values())) == 2


async def test_both_transports_are_those_of_the_service(cluster: TwoNodes) -> None:
    cluster.deploy(cluster.config(scaling=TWO, **SIMULATED))
    await asyncio.to_thread(cluster.until_running, 2)
    url = f"http://127.0.0.1:{cluster.http_port}"
    async with (
        httpx.AsyncClient(base_url=url) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{cluster.grpc_port}") as channel,
        connect(f"ws://127.0.0.1:{cluster.http_port}/v1/stream") as socket_,
    ):
        stub = DepthStub(channel)
        over_http = await client.post("/v1/depth", content=PHOTO, headers={"x-request-id": "mine"})
        assert (over_http.status_code, over_http.headers["x-request-id"]) == (200, "mine")
        over_grpc = await stub.Predict(pb.PredictRequest(image=PHOTO))
        assert over_grpc.data == over_http.content
        assert cv2.imdecode(np.frombuffer(over_grpc.data, np.uint8), -1).shape == (90, 160)
        probed = await InferenceStub(channel).ServerReady(inference_pb.ServerReadyRequest())
        assert probed.ready
        assert (await client.get("/v2/models/student")).json()["name"] == "student"
        # The state of the service, and its refusals, come through as they are.
        assert (await client.get("/readyz")).status_code == 200
        models = (await client.get("/v1/models")).json()["models"]
        listed = (await stub.ListModels(pb.ListModelsRequest())).models
        assert [model["name"] for model in models] == [model.name for model in listed] == ["student"]
        refused = await client.post("/v1/depth", content=b"no photograph")
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_image")
        call = stub.Predict(pb.PredictRequest(image=b"no photograph"))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        trailing = dict(await call.trailing_metadata())
        assert b"invalid_image" in trailing["grpc-status-details-bin"]
        # Streams.
        stream = stub.Stream()
        await stream.write(pb.StreamRequest(config=pb.StreamConfig()))
        for frame in range(3):
            await stream.write(pb.StreamRequest(frame=pb.Frame(id=frame, image=PHOTO)))
        await stream.done_writing()
        assert [response.frame_id async for response in stream] == [0, 1, 2]
        await socket_.send(PHOTO)
        assert json.loads(await socket_.recv())["frame"] == 0
        assert await socket_.recv() == over_http.content
        unopened = stub.Stream()
        await unopened.done_writing()
        assert await unopened.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_each_node_tells_prometheus_what_its_replicas_measure(cluster: TwoNodes) -> None:
    cluster.deploy(cluster.config(scaling=TWO, **SIMULATED))
    await asyncio.to_thread(cluster.until_running, 2)
    wanted = {"ray_depth_request_seconds_bucket", "ray_depth_request_seconds_count", "ray_depth_queue_length"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{cluster.http_port}") as client:
        assert (await client.post("/v1/depth", content=PHOTO)).status_code == 200
    await asyncio.to_thread(cluster.until, lambda: wanted <= cluster.exported())


async def test_an_update_under_load_fails_no_request(cluster: TwoNodes) -> None:
    cluster.deploy(cluster.config(scaling=TWO, **SIMULATED))
    await asyncio.to_thread(cluster.until_running, 2)
    before = set(cluster.replicas())
    async with under_load(cluster, 2, other_urls=[]) as load:
        cluster.deploy(cluster.config(scaling=TWO, **UPDATED))
        await asyncio.to_thread(
            cluster.until, lambda: len(cluster.replicas()) == 2 and not before & set(cluster.replicas())
        )
        await asyncio.to_thread(cluster.until_running, 2)
    assert not load.failed
    assert len(load.answered) > 20


async def test_a_node_that_dies_under_load_loses_only_what_was_on_it(cluster: TwoNodes) -> None:
    cluster.deploy(cluster.config(scaling=THREE, **UPDATED))
    await asyncio.to_thread(cluster.until_running, 3)
    worker_url = f"http://127.0.0.1:{cluster.worker_ports[0]}"
    async with under_load(cluster, 4, other_urls=[worker_url]) as load:
        await asyncio.to_thread(
            cluster.until, lambda: len(cluster.journal(cluster.worker.node_id)["answered"]) > 10
        )
        killed_at = time.monotonic()
        dead = await asyncio.to_thread(cluster.kill_worker)
        await asyncio.to_thread(cluster.until, lambda: len(cluster.replicas()) == 2)
        answered = len(load.answered)
        await asyncio.to_thread(cluster.until, lambda: len(load.answered) > answered + 20)
    print(f"{len(load.answered)} answered, {load.failed} after {time.monotonic() - killed_at:.1f} s")
    assert not load.wrong  # whoever asked again was answered
    journal = cluster.journal(dead)
    lost = {id_ for id_ in journal["began"] if not journal["answered"][id_]}
    at_its_proxy = {id_ for id_ in load.failed if id_.startswith("other") and not int(id_.split("-")[2]) % 2}
    assert not set(load.failed) - lost - at_its_proxy


async def test_the_student_that_ships_answers_as_it_does_alone(cluster: TwoNodes) -> None:
    config = cluster.config(scaling={"min_replicas": 1, "max_replicas": 1}, backend="openvino")
    cluster.deploy(config)
    await asyncio.to_thread(cluster.until_running, 1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{cluster.http_port}", timeout=60) as client:
        [model] = (await client.get("/v1/models")).json()["models"]
        assert (model["name"], model["state"]) == ("student", "ready")
        assert model["backend"].startswith("OpenVINO")
        answer = await client.post("/v1/depth", content=PHOTO)
        depth = cv2.imdecode(np.frombuffer(answer.content, np.uint8), -1)
        assert depth.shape == (90, 160)
        assert depth.min() > 0


async def test_metres_are_adapted_to_the_lens_over_both_transports(cluster: TwoNodes) -> None:
    """Twice the focal length is twice the depth."""
    config = cluster.config(scaling={"min_replicas": 1, "max_replicas": 1}, backend="openvino")
    cluster.deploy(config)
    await asyncio.to_thread(cluster.until_running, 1)
    usual_px = 1.92 * _PIXELS.shape[0]
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{cluster.http_port}", timeout=60) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{cluster.grpc_port}") as channel,
    ):
        usual = await client.post("/v1/depth", content=PHOTO, params={"format": "float32"})
        lens = {"fx_px": 2 * usual_px, "fy_px": 2 * usual_px, "cx_px": 80, "cy_px": 45}
        through = await client.post("/v1/depth", content=PHOTO, params={"format": "float32", **lens})
        assert through.headers["x-depth-scale-source"] == "checkpoint+lens"
        once, twice = (np.frombuffer(answer.content, "<f4") for answer in (usual, through))
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)
        options = pb.Options(format=pb.FORMAT_FLOAT32, lens=pb.Lens(intrinsics=pb.Lens.Intrinsics(**lens)))
        over_grpc = await DepthStub(channel).Predict(pb.PredictRequest(image=PHOTO, options=options))
        assert over_grpc.data == through.content
