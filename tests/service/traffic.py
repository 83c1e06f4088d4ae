"""A service that has seen everything that can happen to a request, and what it then shows at /metrics."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from websockets.asyncio.client import connect

from service.engine import Engine
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.telemetry.metrics import Metrics
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.service.checkpoints import write_checkpoint
from tests.service.green import POISON, SIZE, GreenFactory
from tests.service.opened import grpc_channel, http_server, settings

QUEUE_ITEMS = 8
UNKNOWN_NAMES = 30
"""Callers that ask for models that there are not, each for another."""
KEY = {"authorization": "Bearer right"}


def photo(green: int) -> bytes:
    """A picture of one green, of the network's size so that it arrives unchanged."""
    file = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), green, np.uint8)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Busy:
    """A service, and everything that traffic comes through."""

    port: int
    client: httpx.AsyncClient
    _channel: grpc.aio.Channel
    _factory: GreenFactory

    async def traffic(self) -> None:
        """Let everything happen that metrics know of."""
        await _answered(self.client, self._channel, self.port)
        await _refused(self.client)
        await _crowded(self.client, self._factory)


@asynccontextmanager
async def busy_service(folder: Path) -> AsyncIterator[Busy]:
    """Run a service with real transports, in front of devices that a test can hold."""
    checkpoint = write_checkpoint(folder / "student.safetensors", metres_per_unit=1.0)
    wanted = settings(models=checkpoint, backend="simulated", watch_interval_s=0.0, queue_items=QUEUE_ITEMS)
    factory, metrics = GreenFactory(), Metrics(CollectorRegistry())
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with Engine(wanted, metrics, opening=factory.open) as engine:
        await engine.wait_ready()
        frontend = Frontend(engine, wanted, metrics, keyring=keyring)
        async with (
            http_server(frontend) as port,
            grpc_channel(frontend) as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=30) as client,
        ):
            yield Busy(port=port, client=client, _channel=channel, _factory=factory)


async def figures_after_traffic(folder: Path) -> str:
    """Run a service, let everything happen, and answer the text of /metrics."""
    async with busy_service(folder) as busy:
        await busy.traffic()
        return (await busy.client.get("/metrics")).text


async def _answered(client: httpx.AsyncClient, channel: grpc.aio.Channel, port: int) -> None:
    assert (await client.post("/v1/depth", content=photo(1))).status_code == 200
    metadata = (("authorization", KEY["authorization"]),)
    await DepthStub(channel).Predict(pb.PredictRequest(image=photo(2)), metadata=metadata)
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", additional_headers=KEY) as stream:
        await stream.send(photo(3))
        assert '"frame":0' in await stream.recv()


async def _refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/depth", content=b"junk")).status_code == 422
    assert (await client.post("/v1/depth", content=photo(POISON))).status_code == 500
    assert (await client.post("/v1/depth", content=b"", headers={"authorization": ""})).status_code == 401
    for number in range(UNKNOWN_NAMES):
        strange = await client.post(f"/v1/depth?model=unknown-{number}", content=photo(1))
        assert strange.status_code == 404


async def _crowded(client: httpx.AsyncClient, factory: GreenFactory) -> None:
    """Hold the device until one request has expired, one caller has left and the queue overflows."""
    factory.entered.clear()
    factory.gate.clear()
    try:
        late = await client.post("/v1/depth", content=photo(4), headers={"x-request-deadline-ms": "100"})
        assert late.status_code == 504
        leaving = asyncio.create_task(client.post("/v1/depth", content=photo(5)))
        await asyncio.to_thread(factory.entered.wait, 5)
        await _until(client, 1, "depth_in_flight", transport="http")
        leaving.cancel()
        await _until(client, 0, "depth_in_flight", transport="http")
        crowd = [
            asyncio.create_task(client.post("/v1/depth", content=photo(20 + number)))
            for number in range(QUEUE_ITEMS + 3)
        ]
        waiting = set(crowd)
        while len(crowd) - len(waiting) < 3:  # those that find no place are refused
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await _until(client, QUEUE_ITEMS, "depth_queue_length")  # the others are decoded, too
    finally:
        factory.gate.set()
    statuses = sorted([(await one).status_code for one in crowd])
    assert statuses == [200] * QUEUE_ITEMS + [429] * 3


async def _until(client: httpx.AsyncClient, count: int, name: str, **labels: str) -> None:
    async with asyncio.timeout(30):
        while value(samples((await client.get("/metrics")).text), name, **labels) != count:
            pass


def samples(text: str) -> list[Sample]:
    """Read the text of /metrics."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(figures: list[Sample], name: str, **labels: str) -> float:
    """Add up the samples of a figure whose labels agree."""
    return sum(
        sample.value for sample in figures if sample.name == name and labels.items() <= sample.labels.items()
    )
