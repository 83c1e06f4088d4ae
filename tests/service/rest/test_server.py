"""How the HTTP server closes."""

import asyncio
import contextlib
import socket

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.kserve.servers import make_rpc
from service.rest.server import HttpServer, listen
from service.scheduling.budget import ByteBudget
from service.settings import Settings
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def nothing() -> None:
    return


async def test_connections_that_wait_to_be_accepted_are_served_when_the_server_closes() -> None:
    settings = Settings(_env_file=None, host="127.0.0.1", http_port=0)
    bodies = ByteBudget(1000, "bodies", setting="max_queued_bytes")
    server = HttpServer(hello, settings, bodies=bodies, hold_out=nothing, let_finish=nothing)
    listener = listen(settings)
    address = listener.getsockname()
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    # The kernel completes these while the event loop has no turn to accept them.
    clients = [socket.create_connection(address) for _ in range(20)]
    for client in clients:
        client.sendall(REQUEST)
    await server._stop_accepting([listener])
    for client in clients:
        client.setblocking(False)
        assert (await asyncio.get_running_loop().sock_recv(client, 1000)).startswith(b"HTTP/1.1 200 OK")
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def test_every_address_of_ipv6_hears_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6 that hears IPv4")
    async with http_server(make_frontend(EchoEngine(), host="::")) as port:
        for address in ("127.0.0.1", "[::1]"):
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://{address}:{port}/livez")).status_code == 200, address


async def test_processes_share_their_ports_only_where_that_is_set() -> None:
    """Here two servers in one process; to the kernel that is the same."""
    async with http_server(make_frontend(EchoEngine(), reuse_port=True)) as port:
        with pytest.raises(OSError, match="DEPTH_HTTP_PORT"):
            listen(make_frontend(EchoEngine(), http_port=port).settings)
        async with http_server(make_frontend(EchoEngine(), http_port=port, reuse_port=True)) as shared:
            assert shared == port
            for _ in range(8):  # to either of them
                async with httpx.AsyncClient() as client:
                    assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
    first = make_rpc(make_frontend(EchoEngine(), reuse_port=True), version="1")
    port = await first.start()
    for reuse_port in (True, False):
        second = make_rpc(make_frontend(EchoEngine(), grpc_port=port, reuse_port=reuse_port), version="1")
        if reuse_port:
            assert await second.start() == port
        else:
            with pytest.raises(OSError, match="DEPTH_GRPC_PORT"):
                await second.start()
        await second.stop()
    await first.stop()
