"""Clients that ask as fast as they are answered, or at a rate whatever happens, in a process of their own.

They count the processor time that they use, because it is taken from a server on the same cores.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import cast

import grpc
import uvloop

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
_BUFFER_BYTES = 1 << 20
_OK = 200
_FRAMES_AT_ONCE = 10
"""Of one stream: as many as a server takes at once, and a few on the way."""


@dataclass(kw_only=True)
class Load:
    """What was asked, and how it was answered."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the client."""
    statuses: list[int] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    """Beside each status: from when the request was due."""

    @property
    def good_s(self) -> list[float]:
        """Latencies of the answers that were depth."""
        return [s for s, status in zip(self.latencies_s, self.statuses, strict=True) if status == _OK]

    @property
    def per_second(self) -> float:
        """Depth maps a second."""
        return len(self.good_s) / self.seconds


class HttpConnection(asyncio.BufferedProtocol):
    """One HTTP/1.1 connection, one request at a time; bodies are counted and not kept."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._left = 0
        self._status = 0
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        """Count as 0 what will not be answered."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Offer the same memory every time."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came."""
        if self._status:
            self._left -= nbytes
        else:
            self._head += bytes(memoryview(self._buffer)[:nbytes])
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._status, self._left, self._head = int(head[9:12]), int(length) - len(body), b""
        if self._left == 0:
            status, self._status = self._status, 0
            if self._answer is not None:
                self._answer.set_result(status)

    async def ask(self, request: bytes) -> int:
        """Send a request; answer the status of its answer, once all of it is here."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.open:
            return 0
        self._transport.write(request)
        return await self._answer


def http_request(photograph: bytes) -> bytes:
    """Write a request down."""
    head = f"POST /v1/depth HTTP/1.1\r\nhost: load\r\ncontent-length: {len(photograph)}\r\n\r\n"
    return head.encode() + photograph


async def connected(port: int) -> HttpConnection:
    """Connect to a server on this machine."""
    _, protocol = await asyncio.get_running_loop().create_connection(HttpConnection, "127.0.0.1", port)
    return protocol


async def http_closed(port: int, photographs: list[bytes], clients: int, seconds: float) -> Load:
    """Ask over so many connections, each as soon as it is answered."""
    load, requests = Load(), [http_request(photograph) for photograph in photographs]
    began_s = time.perf_counter()

    async def client(number: int) -> None:
        connection = await connected(port)
        while (asked_s := time.perf_counter()) < began_s + seconds and connection.open:
            request = requests[(len(load.statuses) + number) % len(requests)]
            load.statuses.append(await connection.ask(request))
            load.latencies_s.append(time.perf_counter() - asked_s)

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - began_s
    return load


async def http_open(port: int, photographs: list[bytes], rate: float, seconds: float) -> Load:
    """Ask at a rate, evenly, whatever becomes of what was asked before."""
    load, requests = Load(), [http_request(photograph) for photograph in photographs]
    idle: deque[HttpConnection] = deque()
    running: set[asyncio.Task[None]] = set()
    began_s = time.perf_counter()

    async def ask(request: bytes, due_s: float) -> None:
        while idle:
            connection = idle.popleft()
            if connection.open:
                break
        else:
            connection = await connected(port)
        status = await connection.ask(request)
        load.statuses.append(status)
        load.latencies_s.append(time.perf_counter() - due_s)
        idle.append(connection)

    for number in range(round(rate * seconds)):
        due_s = began_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        task = asyncio.ensure_future(ask(requests[number % len(requests)], due_s))
        running.add(task)
        task.add_done_callback(running.discard)
    load.seconds = time.perf_counter() - began_s
    await asyncio.gather(*running)
    return load


async def grpc_stream(port: int, photographs: list[bytes], streams: int, seconds: float) -> Load:
    """Send frames over so many streams as fast as flow control lets them."""
    load = Load()
    began_s = time.perf_counter()

    async def frames(sent: list[float], room: asyncio.Semaphore) -> AsyncIterator[pb.StreamRequest]:
        yield pb.StreamRequest(config=pb.StreamConfig())
        while time.perf_counter() < began_s + seconds:
            await room.acquire()
            image = photographs[len(sent) % len(photographs)]
            sent.append(time.perf_counter())
            yield pb.StreamRequest(frame=pb.Frame(id=len(sent) - 1, image=image))

    async def client() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            sent: list[float] = []
            room = asyncio.Semaphore(_FRAMES_AT_ONCE)
            async for answer in DepthStub(channel).Stream(frames(sent, room)):
                room.release()
                load.statuses.append(_OK if answer.HasField("depth") else 500)
                load.latencies_s.append(time.perf_counter() - sent[answer.frame_id])

    await asyncio.gather(*(client() for _ in range(streams)))
    load.seconds = time.perf_counter() - began_s
    return load


WAYS = {"http": http_closed, "overload": http_open, "stream": grpc_stream}


def loaded(way: str, port: int, photographs: list[bytes], amount: float, seconds: float) -> Load:
    """Put a load on a server, from a process of its own.

    Args:
        way: `http` or `stream`, with so many clients; or `overload`, at a rate.
        port: The transport's.
        photographs: Sent in turn.
        amount: Clients, or requests a second.
        seconds: How long.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_load, args=(theirs, way, port, photographs, amount, seconds))
    process.start()
    load: Load = ours.recv()
    process.join()
    return load


def _load(
    told: Connection, way: str, port: int, photographs: list[bytes], amount: float, seconds: float
) -> None:
    before_s = time.process_time()
    load = uvloop.run(WAYS[way](port, photographs, amount, seconds))  # type: ignore[operator]
    load.cpu_s = time.process_time() - before_s
    told.send(load)
