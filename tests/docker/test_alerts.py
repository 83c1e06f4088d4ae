"""Each alert is provoked on a real service, and fires in a real Prometheus that scrapes it.

Minutes are scaled down to two seconds and hours to five: else the rules are as committed.
"""

import asyncio
import os
import re
import resource
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect

from service.engine import Engine
from service.telemetry.metrics import Metrics
from service.telemetry.stalls import watching_loop
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.docker.test_monitoring import PROMETHEUS, alerts
from tests.docker.test_prometheus import _until_ready
from tests.e2e.process import ECHO, Process
from tests.service.checkpoints import write_checkpoint
from tests.service.green import GreenFactory
from tests.service.opened import http_server, settings
from tests.service.traffic import photo

MINUTE_S, HOUR_S = 2, 5
KEY = {"authorization": "Bearer right"}
QUEUE_ITEMS = 8


def scaled(rules: str) -> str:
    """Scale every duration of the rules: windows, `for:`, and hours in seconds."""
    units = {"m": MINUTE_S * 1000, "h": HOUR_S * 1000}

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) * units[found[3]]}ms"

    return re.sub(r"(\[|for: )(\d+)([mh])(?=\]|$)", shorter, rules, flags=re.M).replace("3600", str(HOUR_S))


def test_no_duration_is_left_as_it_was() -> None:
    rules = scaled((PROMETHEUS / "alerts.yml").read_text())
    assert not re.search(r"\[\d+[mh]\]|for: \d+[mh]$|3600", rules, flags=re.M)


@dataclass
class Service:
    """A service whose devices the test holds, and what it is asked through."""

    port: int
    client: httpx.AsyncClient
    factory: GreenFactory
    models: Path
    frontend: Frontend

    async def ask(self, green: int = 1, **headers: str) -> int:
        with suppress(httpx.TransportError):
            return (await self.client.post("/v1/depth", content=photo(green), headers=headers)).status_code
        return 0


@asynccontextmanager
async def served(folder: Path, **chosen: Any) -> AsyncIterator[Service]:
    write_checkpoint(folder / "student.safetensors", metres_per_unit=1.0)
    defaults = {"backend": "simulated", "watch_interval_s": 0.2, "queue_items": QUEUE_ITEMS, "max_streams": 2}
    wanted = settings(models=folder, **{**defaults, **chosen})
    factory, metrics = GreenFactory(), Metrics(CollectorRegistry())
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with (
        watching_loop(metrics.event_loop_stall_seconds),
        Engine(wanted, metrics, opening=factory.open) as engine,
    ):
        await engine.wait_ready()
        frontend = Frontend(engine, wanted, metrics, keyring=keyring)
        limits = httpx.Limits(max_connections=None)
        async with (
            http_server(frontend) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=30, limits=limits
            ) as client,
        ):
            yield Service(port, client, factory, folder, frontend)


@dataclass
class Watch:
    """A Prometheus, and which alerts fire in it."""

    folder: Path
    client: httpx.AsyncClient
    process: asyncio.subprocess.Process
    fired: set[str] = field(default_factory=set)
    provoked: set[str] = field(default_factory=set)

    async def firing(self) -> set[str]:
        found = (await self.client.get("/api/v1/alerts")).json()["data"]["alerts"]
        now = {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}
        self.fired |= now
        return now

    def scrape(self, *ports: int) -> None:
        """Have it scrape these ports from now on."""
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}" for port in ports]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        if self.process.returncode is None and self.client is not None:
            self.process.send_signal(1)

    async def until_fires(self, *names: str, provoke: Callable[[], Awaitable[object]]) -> None:
        """Provoke again and again, until these have all fired."""
        self.fired -= set(names)  # what came before may have been a consequence of something else
        self.provoked |= set(names)
        try:
            async with asyncio.timeout(120):
                while not self.fired.issuperset(names):
                    await provoke()
                    await self.firing()
        except TimeoutError:
            raise AssertionError(f"{set(names) - self.fired} never fired") from None


@asynccontextmanager
async def prometheus(folder: Path, *ports: int) -> AsyncIterator[Watch]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("needs prometheus (Debian's package of that name has it)")
    (folder / "alerts.yml").write_text(scaled((PROMETHEUS / "alerts.yml").read_text()))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    watch = Watch(folder, None, None)  # type: ignore[arg-type]
    watch.process = type("NotYet", (), {"returncode": 0})()
    watch.scrape(*ports)
    with (folder / "log").open("w") as log:
        watch.process = await asyncio.create_subprocess_exec(*command, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as watch.client:
            await _until_ready(watch.client, watch.process)
            yield watch
    finally:
        watch.process.terminate()
        await watch.process.wait()


def large() -> bytes:
    """A photograph that takes longer to decode than a device takes for it."""
    import io

    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_every_alert_fires_when_it_is_provoked_and_none_before(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for name in ("calm", "fragile", "watch"):
            (tmp_path / name).mkdir()
        calm = await stack.enter_async_context(
            served(tmp_path / "calm", hang_timeout_s=60.0, codec_threads=1)
        )
        fragile = await stack.enter_async_context(served(tmp_path / "fragile", hang_timeout_s=0.5))
        watch = await stack.enter_async_context(prometheus(tmp_path / "watch", calm.port, fragile.port))
        await nothing_fires_while_all_is_well(watch, calm, fragile)
        await bounds_that_are_near(watch, calm)
        await requests_that_fail(watch, calm)
        await models_that_do_not_load_and_devices_that_fail(watch, fragile)
        await a_process_that_suffers(watch, calm)
        await a_process_that_restarts_or_is_gone(watch, calm)
        assert watch.provoked == alerts().keys()


async def nothing_fires_while_all_is_well(watch: Watch, *services: Service) -> None:
    until_s = time.monotonic() + 12 * MINUTE_S
    while time.monotonic() < until_s:
        for service in services:
            assert await service.ask() == 200
        assert await watch.firing() <= {"DepthLoopStalled"}  # which a busy machine may cause
        await asyncio.sleep(0.2)


async def models_that_do_not_load_and_devices_that_fail(watch: Watch, fragile: Service) -> None:
    (fragile.models / "broken.safetensors").write_bytes(b"not a checkpoint")
    await watch.until_fires("DepthModelLoadFailed", provoke=lambda: asyncio.sleep(0.5))

    async def hang() -> None:
        fragile.factory.gate.clear()
        await fragile.ask()
        fragile.factory.gate.set()

    await watch.until_fires("DepthBackendHung", provoke=hang)

    async def fail() -> None:
        fragile.factory.failing = True
        for _ in range(3):
            await fragile.ask()
        fragile.factory.failing = False

    await watch.until_fires("DepthBackendRebuilt", provoke=fail)
    fragile.factory.break_down()
    await watch.until_fires("DepthNotReady", "DepthModelUnavailable", provoke=fail)
    (fragile.models / "broken.safetensors").unlink()
    fragile.factory.error = None


async def requests_that_fail(watch: Watch, calm: Service) -> None:
    async def poison() -> None:
        await asyncio.gather(calm.ask(13), calm.ask(1), calm.ask(2), asyncio.sleep(0.2))

    await watch.until_fires("DepthErrorRatio", provoke=poison)

    async def unknown_caller() -> None:
        await asyncio.gather(*(calm.ask(authorization="Bearer wrong") for _ in range(5)), asyncio.sleep(0.2))

    await watch.until_fires("DepthStrangers", provoke=unknown_caller)

    async def crowd() -> None:
        """Hold the device: some are late, some are refused, and those in the queue take long."""
        calm.factory.gate.clear()
        late = [calm.ask(**{"x-request-deadline-ms": "300"}) for _ in range(2)]
        asked = asyncio.gather(*late, *(calm.ask() for _ in range(QUEUE_ITEMS * 2)))
        await asyncio.sleep(1.5)
        calm.factory.gate.set()
        await asked

    await watch.until_fires("DepthRejections", "DepthDeadlines", "DepthLatency", provoke=crowd)


async def bounds_that_are_near(watch: Watch, calm: Service) -> None:
    calm.factory.gate.clear()
    waiting = [asyncio.create_task(calm.ask()) for _ in range(QUEUE_ITEMS + 4)]
    await watch.until_fires("DepthQueueNearBound", provoke=lambda: asyncio.sleep(0.5))
    calm.factory.gate.set()
    await asyncio.gather(*waiting)

    photograph = large()

    async def ask_on() -> None:
        while True:
            await calm.client.post("/v1/depth", content=photograph)

    asking = [asyncio.create_task(ask_on()) for _ in range(QUEUE_ITEMS - 1)]
    await watch.until_fires("DepthNotBatching", provoke=lambda: asyncio.sleep(0.5))
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    address = f"ws://127.0.0.1:{calm.port}/v1/stream"
    async with (
        connect(address, additional_headers=KEY) as one,
        connect(address, additional_headers=KEY) as other,
    ):

        async def use_streams() -> None:
            for stream in (one, other):
                await stream.send(photo(1))
                await stream.recv()
                await stream.recv()
            await asyncio.sleep(0.5)

        await watch.until_fires("DepthStreamsNearBound", provoke=use_streams)
    # The accounts are filled from within: what fills them from without is the matter of their own tests.
    accounts = (calm.frontend.budget, calm.frontend.answers)
    for account in accounts:
        account.overdraw(int(account._max_bytes * 0.95), "test")
    names = ("DepthUploadsNearBound", "DepthMemoryNearBound")
    await watch.until_fires(*names, provoke=lambda: asyncio.sleep(0.5))
    for account in accounts:
        account.give(int(account._max_bytes * 0.95), "test")


async def a_process_that_suffers(watch: Watch, calm: Service) -> None:
    async def stall() -> None:
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is to stop
        await asyncio.sleep(0.5)

    await watch.until_fires("DepthLoopStalled", provoke=stall)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(files * 1.1) + 4, hard))
    try:
        await watch.until_fires("DepthFilesNearBound", provoke=lambda: asyncio.sleep(0.5))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    leaked = []

    async def leak() -> None:
        leaked.append(bytearray(np.ones(5 * 2**20, np.uint8)))
        await asyncio.sleep(0.5)

    await watch.until_fires("DepthMemoryGrowing", provoke=leak)


async def a_process_that_restarts_or_is_gone(watch: Watch, calm: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    watch.scrape(calm.port, port)
    await watch.until_fires("DepthDown", provoke=lambda: asyncio.sleep(0.5))

    async def restart() -> None:
        process = Process(ECHO, {"DEPTH_HTTP_PORT": str(port), "DEPTH_LINGER_S": "0"})
        try:
            await asyncio.to_thread(process.until, "ready")
            await asyncio.sleep(1.5)
        finally:
            process.kill()

    await watch.until_fires("DepthRestarting", provoke=restart)
    watch.scrape()
    await watch.until_fires("DepthAbsent", provoke=lambda: asyncio.sleep(0.5))
