"""Opens everything in order, runs it, and closes it in order.

It does not know what any of it does.
"""

import asyncio
import gc
import json
import logging
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.auth import Keyring, read_keys
from service.doors import Doors
from service.engine import Engine
from service.errors import ServiceError
from service.kserve.doors import make_http, make_rpc
from service.metrics import Metrics
from service.rest.server import HttpServer, listen
from service.rpc.server import RpcServer
from service.settings import Settings
from service.tracing import Tracing, open_telemetry

logger = logging.getLogger(__name__)

NAME = "vfm-depth"
"""The distribution's, and the service's in traces."""
FAILED = 1
"""The exit status of a service that has no model to serve."""


async def serve(settings: Settings, make_engine: Callable[[Settings, Metrics], Engine] = Engine) -> int:
    """Run the service until a signal ends it; answer the process's exit status.

    Args:
        settings: Everything that may be set.
        make_engine: Makes what answers; tests have their own.

    Raises:
        OSError: A port cannot be had, or a file cannot be read.
        ValueError: A file of keys cannot be understood.
    """
    started_at_s = time.monotonic()
    metrics = Metrics(CollectorRegistry())
    with listen(settings) as listener:
        async with make_engine(settings, metrics) as engine:
            doors = open_doors(engine, settings, metrics)
            admin_key = _admin_key(settings)
            app = make_http(doors, version=version(NAME), admin_key=admin_key)
            rpc = make_rpc(doors, version=version(NAME), admin_key=admin_key)
            closing = _Closing(doors, rpc)
            http = HttpServer(app, settings, hold_out=closing.hold_out, let_finish=closing.let_finish)
            engine.on_ready_change(lambda _: rpc.announce_soon(ready=doors.ready))
            ports = {"http_port": listener.getsockname()[1], "grpc_port": await rpc.start()}
            logger.info("listening", extra=ports)
            herald = asyncio.ensure_future(_herald(http, doors, ports, started_at_s))
            try:
                await http.serve(sockets=[listener])
            finally:
                forced = http.forced_by is not None
                await rpc.stop()
                left = await engine.drain(0.0 if forced else settings.drain_timeout_s)
                logger.info("closed", extra={"forced": forced, "unanswered": left})
                herald.cancel()
                if settings.ready_file is not None:
                    settings.ready_file.unlink(missing_ok=True)
    if http.forced_by is not None:
        return 128 + http.forced_by
    return FAILED if herald.done() and not herald.cancelled() and not herald.result() else 0


class _Closing:
    """What is closed beside the HTTP server, and when."""

    def __init__(self, doors: Doors, rpc: RpcServer) -> None:
        self._doors = doors
        self._rpc = rpc

    async def hold_out(self) -> None:
        """Tell everybody that this server goes, and still answer those who have not heard of it."""
        self._doors.closing = True
        await self._rpc.retire()
        await asyncio.sleep(self._doors.settings.linger_s)

    async def let_finish(self) -> None:
        """Take no more calls and frames; wait for those that were taken."""
        timeout_s = self._doors.settings.drain_timeout_s
        stopping = asyncio.ensure_future(self._rpc.finish(timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                await self._doors.streams.drain()
        except TimeoutError:
            logger.warning("%d streams did not end within %g s", len(self._doors.streams), timeout_s)
        await stopping


async def _herald(http: HttpServer, doors: Doors, ports: dict[str, int], started_at_s: float) -> bool:
    """Say when the service is ready; end it, and answer False, where it cannot be."""
    try:
        await doors.engine.wait_ready()
    except ServiceError as error:
        logger.critical("there is nothing to serve: %s", error)
        http.close()
        return False
    # What lives now lives for ever: the collector need not look through it again, with every request waiting.
    gc.collect()
    gc.freeze()
    if doors.settings.ready_file is not None:
        _write_whole(doors.settings.ready_file, json.dumps({"pid": os.getpid(), **ports}))
    logger.info("ready", extra={**ports, "after_s": round(time.monotonic() - started_at_s, 3)})
    return True


def _write_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def open_doors(engine: Engine, settings: Settings, metrics: Metrics) -> Doors:
    """Make what all doors share, as the settings have it.

    Raises:
        OSError: The file of keys cannot be read.
        ValueError: It cannot be understood.
    """
    keyring = Keyring(() if settings.api_keys is None else read_keys(settings.api_keys))
    tracing = Tracing() if settings.tracing == "off" else open_telemetry(NAME)
    return Doors(engine, settings, metrics, keyring=keyring, tracing=tracing)


def _admin_key(settings: Settings) -> str | None:
    key = None
    if settings.admin_key is not None:
        key = settings.admin_key.get_secret_value()
    elif settings.admin_key_file is not None:
        key = settings.admin_key_file.read_text(encoding="utf-8").strip()
    if key == "":
        raise ValueError("the admin key is empty; expected at least one character")
    return key
