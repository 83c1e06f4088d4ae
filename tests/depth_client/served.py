"""A service of maps that a test can compute in its head, behind a real transport, in a thread of its own."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from service.codec.encode import EncodeOptions, encode_depth
from service.codec.point_cloud import intrinsics_of
from service.contract.answer import DepthAnswer
from service.contract.errors import InvalidImage, ServiceError
from service.contract.request import DepthRequest
from service.engine import Turn
from service.rpc.server import RpcServer
from service.telemetry.tracing import TraceContext, current_trace
from service.transports.auth import Keyring
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend

Transport = Literal["http", "grpc"]
TRANSPORTS: tuple[Transport, ...] = ("http", "grpc")
HEIGHT, WIDTH = 3, 5


def depth_of(image: bytes) -> np.ndarray:
    """Metres that grow from the image's first byte on."""
    return image[0] + np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH) / 4


class RampEngine(EchoEngine):
    """Answers `depth_of` an image, as the format that was asked for has it.

    Errors put into ``errors`` are raised first, one a request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[ServiceError] = []
        self.traces: list[TraceContext | None] = []

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        self.traces.append(current_trace.get())
        answer = await super().depth(request, turn)
        if self.errors:
            raise self.errors.pop(0)
        image = bytes(request.image)
        if image.startswith(b"bad"):
            raise InvalidImage("these bytes are no image")
        depth = depth_of(image)
        rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        lens = None if request.lens is None else intrinsics_of(request.lens, HEIGHT, WIDTH)
        options = EncodeOptions(unit="metre", intrinsics=lens, rgb=rgb)
        spec = request.format.spec
        return replace(
            answer,
            body=encode_depth(depth, request.format, options),
            media_type=spec.media_type,
            dtype=spec.dtype,
            scale=spec.scale,
            invalid=spec.invalid,
            height=HEIGHT,
            width=WIDTH,
            minimum=float(depth.min()),
            maximum=float(depth.max()),
            intrinsics=lens,
            notice="this photograph is odd" if image.startswith(b"odd") else "",
        )


@dataclass(frozen=True, kw_only=True)
class Served:
    """A service, as a test in another thread sees it."""

    address: str
    engine: RampEngine
    loop: asyncio.AbstractEventLoop
    stop: Callable[[], None]
    """Close the service as SIGTERM does, and wait until it is closed."""

    def call(self, do: Callable[[], Any]) -> None:
        """Do something in the service's own loop."""
        self.loop.call_soon_threadsafe(do)


@asynccontextmanager
async def opened(
    transport: Transport, engine: RampEngine | None = None, *, keyring: Keyring | None = None, **chosen: Any
) -> AsyncIterator[tuple[str, RampEngine]]:
    """Yield the address of a service in this loop, and its engine."""
    engine = engine or RampEngine()
    frontend = make_frontend(engine, keyring, **chosen)
    encrypted = "s" if "tls_cert" in chosen else ""
    if transport == "http":
        async with http_server(frontend) as port:
            yield f"http{encrypted}://127.0.0.1:{port}", engine
        return
    server = RpcServer(frontend)
    port = await server.start()
    try:
        yield f"grpc{encrypted}://127.0.0.1:{port}", engine
    finally:
        server_done = asyncio.ensure_future(server.finish(5))
        await frontend.streams.drain()
        await server_done


@contextmanager
def served(transport: Transport, engine: RampEngine | None = None, **chosen: Any) -> Iterator[Served]:
    """Yield a service that runs in a thread of its own."""
    ready: list[Served] = []
    begun = threading.Event()

    async def serve() -> None:
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(ending.set)
            thread.join(20)

        async with opened(transport, engine, **chosen) as (address, made):
            ready.append(Served(address=address, engine=made, loop=loop, stop=stop))
            begun.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert begun.wait(20)
    try:
        yield ready[0]
    finally:
        if thread.is_alive():
            ready[0].stop()
        assert not thread.is_alive()


def run_with_service(transport: Transport, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with a service's address as its only argument."""
    with served(transport) as service:
        return subprocess.run(
            [sys.executable, "-c", program, service.address],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
