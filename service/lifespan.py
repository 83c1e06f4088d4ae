"""Opens everything in order, runs it, and closes it in order."""

import asyncio
import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.contract.errors import ServiceError
from service.engine import Engine
from service.kserve.servers import make_http, make_rpc
from service.rest.server import HttpServer, listen
from service.rpc.server import RpcServer
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.stalls import watching_loop
from service.telemetry.tracing import Tracing, open_telemetry
from service.transports.auth import Keyring, read_keys
from service.transports.fit import fitted
from service.transports.frontend import Frontend
from service.transports.returning import returning_memory

logger = logging.getLogger(__name__)

NAME = "vfm-depth"
"""The distribution's, and the service's in traces."""
_LEAST_ADMIN_KEY = 16
"""Characters. Guessing one at the service's full rate takes longer than it runs."""
FAILED = 1
"""The exit status of a service that has no model to serve, or has lost a device."""
_DEVICES_LOOKED_AT_S = 0.5
"""How often."""


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
    settings, problems = fitted(settings)
    for problem in problems:
        logger.warning("%s", problem)
    metrics = Metrics(CollectorRegistry())
    with listen(settings) as listener:
        async with watching_loop(metrics.event_loop_stall_seconds), make_engine(settings, metrics) as engine:
            frontend = open_frontend(engine, settings, metrics)
            admin_key = _admin_key(settings)
            app = make_http(frontend, version=version(NAME), admin_key=admin_key)
            rpc = make_rpc(frontend, version=version(NAME), admin_key=admin_key)
            closing = _Closing(frontend, rpc)
            http = HttpServer(
                app,
                settings,
                bodies=frontend.budget,
                hold_out=closing.hold_out,
                let_finish=closing.let_finish,
            )
            engine.on_ready_change(lambda _: rpc.announce_soon(ready=frontend.ready))
            with http.capture_signals(), _reloading(engine):  # before anybody hears that we listen
                ports = {"http_port": listener.getsockname()[1], "grpc_port": await rpc.start()}
                logger.info("listening", extra=ports)
                notifier = asyncio.ensure_future(_notify(http, frontend, ports, started_at_s))
                ending = asyncio.ensure_future(_end_without_device(http, engine))
                try:
                    async with returning_memory(frontend):
                        await http.serve(sockets=[listener])
                finally:
                    forced = http.forced_by is not None
                    await rpc.stop()
                    left = await engine.drain(0.0 if forced else settings.drain_timeout_s)
                    logger.info("closed", extra={"forced": forced, "unanswered": left})
                    failed = (notifier.done() and not notifier.result()) or engine.device_lost
                    notifier.cancel()
                    ending.cancel()
                    if settings.ready_file is not None and not failed:
                        settings.ready_file.unlink(missing_ok=True)
            frontend.tracing.close()
    if http.forced_by is not None:
        return 128 + http.forced_by
    return FAILED if failed else 0


@contextmanager
def _reloading(engine: Engine) -> Iterator[None]:
    """Look through the folder of models at each SIGHUP, as long as this lasts."""
    looks: set[asyncio.Task[None]] = set()

    async def look() -> None:
        logger.info("looking through the folder of models, as a signal asks")
        try:
            await engine.reload()
        except OSError as error:
            logger.warning("the folder of models cannot be looked through: %s", error)

    def begin() -> None:
        task = asyncio.ensure_future(look())
        looks.add(task)
        task.add_done_callback(looks.discard)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, begin)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(
            signal.SIGHUP, signal.SIG_IGN
        )  # accepted requests are completed, whatever the terminal does
        for task in looks:
            task.cancel()


class _Closing:
    """What is closed beside the HTTP server, and when."""

    def __init__(self, frontend: Frontend, rpc: RpcServer) -> None:
        self._frontend = frontend
        self._rpc = rpc

    async def hold_out(self) -> None:
        """Announce that this server stops, and still accept requests from clients that have not noticed."""
        self._frontend.closing = True
        await self._rpc.retire()
        await asyncio.sleep(self._frontend.settings.linger_s)

    async def let_finish(self) -> None:
        """Take no more calls and frames; wait for those that were taken."""
        timeout_s = self._frontend.settings.drain_timeout_s
        stopping = asyncio.ensure_future(self._rpc.finish(timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                await self._frontend.streams.drain()
        except TimeoutError:
            logger.warning("%d streams did not end within %g s", len(self._frontend.streams), timeout_s)
        await stopping


async def _end_without_device(http: HttpServer, engine: Engine) -> None:
    """End the service once a device is lost to it: only another process can use that device again."""
    while not engine.device_lost:  # noqa: ASYNC110 - it is told in several places, and seldom
        await asyncio.sleep(_DEVICES_LOOKED_AT_S)
    logger.critical("a device is lost to this process, which ends so that another can take its place")
    http.close()


async def _notify(http: HttpServer, frontend: Frontend, ports: dict[str, int], started_at_s: float) -> bool:
    """Say when the service is ready; end it, and answer False, where it cannot be."""
    try:
        await frontend.engine.wait_ready()
    except ServiceError as error:
        logger.critical("there is nothing to serve: %s", error)
        http.close()
        return False
    # What lives now lives for ever: the collector need not look through it again, with every request waiting.
    gc.collect()
    gc.freeze()
    if frontend.settings.ready_file is not None:
        try:
            _write_whole(frontend.settings.ready_file, json.dumps({"pid": os.getpid(), **ports}))
        except OSError as error:
            logger.critical("the file of DEPTH_READY_FILE cannot be written: %s", error)
            http.close()
            return False
    logger.info("ready", extra={**ports, "after_s": round(time.monotonic() - started_at_s, 3)})
    return True


def _write_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def open_frontend(engine: Engine, settings: Settings, metrics: Metrics) -> Frontend:
    """Make what all transports share, as the settings have it.

    Raises:
        OSError: The file of keys cannot be read.
        ValueError: It cannot be understood.
    """
    keyring = Keyring(() if settings.api_keys is None else read_keys(settings.api_keys), engine.clock)
    tracing = Tracing() if settings.tracing == "off" else open_telemetry(NAME)
    return Frontend(engine, settings, metrics, keyring=keyring, tracing=tracing)


def _admin_key(settings: Settings) -> str | None:
    key = None
    if settings.admin_key is not None:
        key = settings.admin_key.get_secret_value()
    elif settings.admin_key_file is not None:
        key = settings.admin_key_file.read_text(encoding="utf-8").strip()
    if key is not None and len(key) < _LEAST_ADMIN_KEY:
        raise ValueError(
            f"the admin key has {len(key)} characters; expected at least {_LEAST_ADMIN_KEY} in "
            "DEPTH_ADMIN_KEY or DEPTH_ADMIN_KEY_FILE, such as `openssl rand -hex 32` prints"
        )
    return key
