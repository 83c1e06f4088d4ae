"""Whatever a peer leaves unfinished, on whichever port: its connection ends by itself."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.kserve.servers import make_rpc
from service.rest.handshakes import MOST_HANDSHAKES
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.certificates import Authority
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend

SHORT_S = 0.4
WITHIN_S = 12.0
"""Several of the times below may come one after the other, on a machine that is busy."""
TIMES = {
    "head_timeout_s": SHORT_S,
    "body_timeout_s": SHORT_S,
    "keep_alive_s": SHORT_S,
    "stalled_peer_s": SHORT_S,
    "stream_idle_timeout_s": SHORT_S,
    "least_bytes_per_s": 100_000_000,
    "max_answers_bytes": 1 << 32,
}
LARGE = 6_000_000
"""Comes back as large; more than the buffers of two sockets hold."""
POST = b"POST /v1/depth HTTP/1.1\r\nhost: depth\r\n"
KEY = b"x-api-key: right\r\n"
GET = b"GET /livez HTTP/1.1\r\nhost: depth\r\n\r\n"
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nhost: depth\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def frame(payload: bytes, kind: int = 0x82) -> bytes:
    """A client's WebSocket frame, masked with zeros."""
    return bytes((kind, 0xFF)) + len(payload).to_bytes(8) + bytes(4) + payload


def h2(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def call(path: str, key: bytes = b"right") -> bytes:
    """The headers of a gRPC call, each a literal that is not indexed (RFC 7541, 6.2.2)."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"depth"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"x-api-key", key),
    ]
    block = b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in headers)
    return h2(1, 0x4, 1, block)


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0)
DEAF_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0, b"\x00\x04\x00\x00\x00\x00")
"""Of a client that has no room for an answer."""
PREDICT, STREAM = "/depth.v1.Depth/Predict", "/depth.v1.Depth/Stream"
PHOTO = b"\x0a\x04" + b"\x07ech"


def message(data: bytes, flags: int = 0) -> bytes:
    return h2(0, flags, 1, b"\0" + len(data).to_bytes(4) + data)


@dataclass(frozen=True)
class Peer:
    """One that sends something, perhaps something again and again, and reads nothing, or all."""

    says: bytes
    drips: bytes = b""
    reads: bool = True


HTTP = {
    "nothing": Peer(b""),
    "blank lines": Peer(b"", drips=b"\r\n"),
    "half a head": Peer(POST, drips=b"a: b\r\n"),
    "half a head after an answer": Peer(GET + b"GET", drips=b"x"),
    "nothing after an answer": Peer(GET),
    "blank lines after an answer": Peer(GET, drips=b"\r\n"),
    "half a body without a key": Peer(POST + b"content-length: 1000\r\n\r\n", drips=b"x"),
    "half a body": Peer(POST + KEY + b"content-length: 1000\r\n\r\n", drips=b"x"),
    "half a body that nobody reads": Peer(
        b"GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n", drips=b"x"
    ),
    "half a chunk": Peer(POST + KEY + b"transfer-encoding: chunked\r\n\r\n5\r\nx"),
    "half a chunk's size": Peer(POST + KEY + b"transfer-encoding: chunked\r\n\r\n", drips=b"0"),
    "half a chunk's extension": Peer(POST + KEY + b"transfer-encoding: chunked\r\n\r\n1;", drips=b"x"),
    "half a trailer": Peer(
        POST + KEY + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", drips=b"a: b\r\n"
    ),
    "an answer unread": Peer(POST + KEY + b"content-length: %d\r\n\r\n" % LARGE + bytes(LARGE), reads=False),
    "half an upgrade": Peer(UPGRADE, drips=b"a: b\r\n"),
    "a stream without a key": Peer(UPGRADE + b"\r\n"),
    "a stream without frames": Peer(UPGRADE + KEY + b"\r\n"),
    "a stream of pings": Peer(UPGRADE + KEY + b"\r\n", drips=frame(b"", 0x89)),
    "half a frame": Peer(UPGRADE + KEY + b"\r\n" + frame(bytes(1000))[:40], drips=b"\0"),
    "half a message": Peer(UPGRADE + KEY + b"\r\n" + frame(b"x", 0x02), drips=frame(b"", 0x00)),
    "depth unread": Peer(UPGRADE + KEY + b"\r\n" + 2 * frame(bytes(LARGE)), reads=False),
    "a close that is not confirmed": Peer(UPGRADE + KEY + b"\r\n" + frame(b"end", 0x81), drips=b""),
}
GRPC = {
    "nothing": Peer(b""),
    "half a preface": Peer(HELLO[:10]),
    "a preface alone": Peer(HELLO),
    "a preface and pings": Peer(HELLO, drips=h2(6, 0, 0, bytes(8))),
    "a call without a message": Peer(HELLO + call(PREDICT)),
    "a call without a key": Peer(HELLO + call(PREDICT, b"wrong")),
    "half a message": Peer(HELLO + call(PREDICT) + h2(0, 0, 1, b"\0\0\0\1\0"), drips=h2(0, 0, 1, b"x")),
    "a stream without frames": Peer(HELLO + call(STREAM)),
    "an answer unread": Peer(DEAF_HELLO + call(PREDICT) + message(PHOTO, 1), reads=False),
}


@asynccontextmanager
async def http_port(frontend: Frontend) -> AsyncIterator[int]:
    async with http_server(frontend) as port:
        yield port


@asynccontextmanager
async def grpc_port(frontend: Frontend) -> AsyncIterator[int]:
    server = make_rpc(frontend, version="1")
    try:
        yield await server.start()
    finally:
        await server.stop()


def frontend_of(**chosen: Any) -> Frontend:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    return make_frontend(EchoEngine(), keyring, **{**TIMES, **chosen})


async def ended(port: int, peer: Peer) -> bool:
    """Whether the server ends the connection of such a peer in time."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        if not peer.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(client, ("127.0.0.1", port))
        try:
            async with asyncio.timeout(WITHIN_S):
                await loop.sock_sendall(client, peer.says)
                while True:
                    try:
                        async with asyncio.timeout(0.1):
                            if peer.reads and not await loop.sock_recv(client, 65_536):
                                return True
                            await asyncio.sleep(0.1 if peer.reads else 1)
                    except TimeoutError:
                        if not is_open(port, client):
                            return True
                        await loop.sock_sendall(client, peer.drips)
        except (ConnectionError, BrokenPipeError):
            return True
        except TimeoutError:
            return False


def is_open(port: int, client: socket.socket) -> bool:
    """Whether the server, which runs in this process, still has the other end of a connection."""
    ends = (port, client.getsockname()[1])
    return any(
        link.raddr and (link.laddr.port, link.raddr.port) == ends
        for link in psutil.Process().net_connections("tcp")
    )


@pytest.mark.parametrize(("opened", "peers"), [(http_port, HTTP), (grpc_port, GRPC)], ids=["http", "grpc"])
async def test_no_peer_keeps_a_connection_by_leaving_something_unfinished(
    opened: Callable[[Frontend], Any], peers: dict[str, Peer]
) -> None:
    frontend = frontend_of()
    async with opened(frontend) as port:
        results = await asyncio.gather(*(ended(port, peer) for peer in peers.values()))
        assert [name for name, result in zip(peers, results, strict=True) if not result] == []
        assert frontend.budget.held_bytes == frontend.answers.held_bytes == 0


async def test_no_peer_keeps_a_connection_by_leaving_its_tls_handshake_unfinished(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "authority").sign("depth")
    secured = frontend_of(tls_cert=certificate, tls_key=key)
    half = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), half, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = half.read()
    async with http_port(secured) as http, grpc_port(secured) as grpc:
        peers = (Peer(b""), Peer(hello[:20]), Peer(hello))
        assert all(await asyncio.gather(*(ended(port, peer) for port in (http, grpc) for peer in peers)))


async def test_unfinished_tls_handshakes_make_room_for_the_next(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("depth")
    patient = frontend_of(tls_cert=certificate, tls_key=key, head_timeout_s=60.0)
    trusted = ssl.create_default_context(cafile=authority.certificate)
    async with http_port(patient) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * MOST_HANDSHAKES)]
        crowded_out = [reader for reader, _ in silent[:MOST_HANDSHAKES]]
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusted, server_hostname="localhost"
            )
            writer.write(GET)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            assert await asyncio.gather(*(each.read() for each in crowded_out)) == [b""] * MOST_HANDSHAKES
        kept = [not reader.at_eof() for reader, _ in silent[MOST_HANDSHAKES:]]
        assert sum(kept) >= MOST_HANDSHAKES - 1
        for _, each in [*silent, (reader, writer)]:
            each.close()
