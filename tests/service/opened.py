"""Frontend, opened in front of an engine for the length of a test, on ports that the system chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from prometheus_client import CollectorRegistry

from service.engine import Engine
from service.kserve.servers import make_http, make_rpc
from service.rest.server import HttpServer, listen
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.transports.auth import Keyring
from service.transports.frontend import Frontend
from tests.service.echo import EchoEngine


def settings(**chosen: Any) -> Settings:
    """Settings that no environment reaches, with ports of the system's choice and no waiting."""
    defaults = {
        "models": Path(__file__).parent,
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "linger_s": 0.0,
    }
    return Settings(_env_file=None, **{**defaults, **chosen})


def make_frontend(engine: EchoEngine, keyring: Keyring | None = None, **chosen: Any) -> Frontend:
    return Frontend(engine, settings(**chosen), Metrics(CollectorRegistry()), keyring=keyring)


@asynccontextmanager
async def http_client(frontend: Frontend, admin_key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application itself, with no network between."""
    app = make_http(frontend, version="1", admin_key=admin_key)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://depth") as client:
        yield client


@asynccontextmanager
async def http_server(frontend: Frontend) -> AsyncIterator[int]:
    """The real server; yields its port."""

    async def nothing() -> None:
        return

    with listen(frontend.settings) as listener:
        server = HttpServer(
            make_http(frontend, version="1"),
            frontend.settings,
            bodies=frontend.budget,
            hold_out=nothing,
            let_finish=frontend.streams.drain,
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.close()
            await serving


@asynccontextmanager
async def grpc_channel(
    frontend: Frontend, admin_key: str | None = None, **options: Any
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the real gRPC server."""
    server = make_rpc(frontend, version="1", admin_key=admin_key)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", **options) as channel:
            yield channel
    finally:
        await server.stop()


@asynccontextmanager
async def both_transports(chosen: Settings) -> AsyncIterator[tuple[int, int]]:
    """A real engine behind real servers; yields the ports of HTTP and of gRPC."""
    metrics = Metrics(CollectorRegistry())
    async with Engine(chosen, metrics) as engine:
        await engine.wait_ready()
        frontend = Frontend(engine, chosen, metrics)
        rpc = make_rpc(frontend, version="1", admin_key=None)
        grpc_port = await rpc.start()
        try:
            async with http_server(frontend) as http_port:
                yield http_port, grpc_port
        finally:
            await rpc.stop()
