"""What each key gets of a busy service, through its real transports."""

import asyncio
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.backends import BackendOptions
from service.engine import Engine
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.telemetry.metrics import Metrics
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.service.checkpoints import write_checkpoint
from tests.service.green import SIZE, GreenBackend, GreenFactory
from tests.service.opened import grpc_channel, http_server, settings
from tests.service.traffic import photo

MANY, FEW = 24, 6
OF_MANY, OF_FEW = range(100, 100 + MANY), range(200, 200 + FEW)
"""Greens of their photographs."""


class NotingFactory(GreenFactory):
    """Opens one device, which notes in which order it is given photographs."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []

    def open(self, kind: str, checkpoint: Path, options: BackendOptions) -> GreenBackend:
        return NotingBackend(self)


class NotingBackend(GreenBackend):
    def __init__(self, factory: NotingFactory) -> None:
        super().__init__(factory)
        self._order = factory.order

    def predict(self, images: np.ndarray) -> np.ndarray:
        self._order += images[:, 0, 0, 1].tolist()
        return super().predict(images)


@pytest.mark.parametrize(
    ("claimed", "granted", "before"),
    [
        (0, 0, FEW),  # one of each in turns
        (4, 0, FEW),  # what a key is not granted it does not get
        (0, 2, FEW // 4),  # two steps of priority: four turns for each of the others
    ],
)
async def test_a_key_that_asks_for_much_leaves_each_other_key_its_share(
    tmp_path: Path, claimed: int, granted: int, before: int
) -> None:
    checkpoint = write_checkpoint(tmp_path / "student.safetensors", metres_per_unit=1.0)
    wanted = settings(models=checkpoint, watch_interval_s=0.0)
    factory, metrics = NotingFactory(), Metrics(CollectorRegistry())
    keys = [
        ApiKey(name="many", digest=hash_key("many")),
        ApiKey(name="few", digest=hash_key("few"), priority=granted),
    ]
    async with Engine(wanted, metrics, opening=factory.open) as engine:
        await engine.wait_ready()
        factory.order.clear()
        factory.gate.clear()
        factory.entered.clear()
        frontend = Frontend(engine, wanted, metrics, keyring=Keyring(keys))
        async with (
            http_server(frontend) as port,
            grpc_channel(frontend) as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        ):

            def over_http(green: int) -> asyncio.Task[httpx.Response]:
                query, key = {"priority": str(claimed)}, {"x-api-key": "many"}
                return asyncio.create_task(
                    client.post("/v1/depth", content=photo(green), params=query, headers=key)
                )

            def over_grpc(green: int) -> "grpc.aio.UnaryUnaryCall[pb.PredictRequest, pb.PredictResponse]":
                request = pb.PredictRequest(image=photo(green), options=pb.Options(priority=granted))
                return DepthStub(channel).Predict(request, metadata=[("x-api-key", "few")])

            many = [over_http(green) for green in OF_MANY]
            assert await asyncio.to_thread(factory.entered.wait, 30)
            await _until_decoded(metrics, MANY)
            begun = len(factory.order)
            few = [over_grpc(green) for green in OF_FEW]
            await _until_decoded(metrics, MANY + FEW)
            factory.gate.set()
            assert {(await each).status_code for each in many} == {200}
            for each in few:
                await each
    assert sorted(factory.order) == [*OF_MANY, *OF_FEW]
    last = max(factory.order.index(green) for green in OF_FEW)
    # Besides those that had begun, only their turns; a batch takes what is there when it begins.
    assert last < begun + FEW + before + GreenBackend.max_batch


async def _until_decoded(metrics: Metrics, count: int) -> None:
    """Wait until so many photographs wait for the device, or are in it, and none is being decoded."""
    pixels_bytes = count * SIZE[0] * SIZE[1] * 3
    async with asyncio.timeout(30):
        while metrics.registry.get_sample_value("depth_held_pixel_bytes") != pixels_bytes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
