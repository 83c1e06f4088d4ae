"""Streams over WebSockets: frames out, what became of them in."""

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, aclosing, closing, suppress
from itertools import chain
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from depth_client.connection import Connection
from depth_client.errors import NotReady, ServiceError, Unreachable, UnreadableAnswer
from depth_client.http_wire import error_answer, failure_in, has_map, outcome_of, query_of, said_of
from depth_client.outgoing import Outgoing
from depth_client.question import StreamCall
from depth_client.result import Outcome

_END = "end"
_NORMAL, _RESTARTING = 1000, 1012
_CLOSE_S = 1.0
_REFUSED = (OSError, TimeoutError, InvalidHandshake)


def stream(connection: Connection, call: StreamCall, frames: Iterator[Outgoing]) -> Generator[Outcome]:
    """Yield what became of each frame, in their order; `frames` is read in another thread.

    One more thread does all of TLS: in Python, a connection that one thread reads while another writes loses
    bytes now and then (https://github.com/python/cpython/issues/143756).
    """
    outcomes: SimpleQueue[Outcome | None] = SimpleQueue()  # not more than the window of `frames` lets through
    loop = asyncio.new_event_loop()
    receiving = loop.create_task(_put_all(stream_async(connection, call, _in_thread(frames)), outcomes))

    def run() -> None:
        with closing(loop):
            loop.run_until_complete(asyncio.wait((receiving,)))
            loop.run_until_complete(loop.shutdown_asyncgens())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (outcome := outcomes.get()) is not None:
            yield outcome
    finally:
        with suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(receiving.cancel)
        thread.join()
    receiving.result()


async def _put_all(received: AsyncGenerator[Outcome], outcomes: "SimpleQueue[Outcome | None]") -> None:
    try:
        async with aclosing(received):
            async for outcome in received:
                outcomes.put(outcome)
    finally:
        outcomes.put(None)


async def _in_thread(frames: Iterator[Outgoing]) -> AsyncIterator[Outgoing]:
    loop = asyncio.get_running_loop()
    taken: asyncio.Queue[Outgoing | None] = asyncio.Queue()

    def take() -> None:
        with suppress(RuntimeError):  # the stream has ended, and its loop with it
            for frame in chain(frames, (None,)):
                loop.call_soon_threadsafe(taken.put_nowait, frame)

    threading.Thread(target=take, daemon=True).start()
    while (frame := await taken.get()) is not None:
        yield frame


async def stream_async(
    connection: Connection, call: StreamCall, frames: AsyncIterator[Outgoing]
) -> AsyncGenerator[Outcome]:
    """Yield what became of each frame, in their order; `frames` is read in another task."""
    async with AsyncExitStack() as opened:
        opening = connect(_url(connection, call), **_options(connection, call))
        try:
            socket = await opened.enter_async_context(opening)
        except _REFUSED as error:
            raise _refusal(error) from error
        sending = asyncio.ensure_future(_send_all_async(socket, frames))
        opened.push_async_callback(_stop, sending)
        while True:
            try:
                text = _text(await socket.recv())
                _check(text)
                body = _bytes(await socket.recv()) if has_map(text) else None
            except ConnectionClosed as error:
                _check_end(error)
                return
            yield outcome_of(text, body)


async def _stop(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _send_all_async(socket: ClientConnection, frames: AsyncIterator[Outgoing]) -> None:
    with suppress(ConnectionClosed):  # the receiving side reports why
        async for frame in frames:
            if (said := said_of(frame)) is not None:
                await socket.send(said)
            await socket.send(frame.image)
        await socket.send(_END)


def _url(connection: Connection, call: StreamCall) -> str:
    query = query_of(call.request) | {"steadiness": repr(call.steadiness)}
    if call.frame_timeout_s is not None:
        query["frame_timeout_ms"] = repr(call.frame_timeout_s * 1e3)
    scheme = "wss" if connection.is_encrypted else "ws"
    return f"{scheme}://{connection.host}{connection.path}/v1/stream?{urlencode(query)}"


def _options(connection: Connection, call: StreamCall) -> dict[str, Any]:
    context: ssl.SSLContext | None = connection.tls.context() if connection.is_encrypted else None
    return {
        "ssl": context,
        "additional_headers": call.headers,
        "open_timeout": min(connection.connect_timeout_s, call.remaining_s()),
        "close_timeout": _CLOSE_S,
        "compression": None,
        "max_size": None,
    }


def _text(message: str | bytes) -> str:
    if isinstance(message, str):
        return message
    raise UnreadableAnswer("a binary message came where a description was due")


def _bytes(message: str | bytes) -> bytes:
    if isinstance(message, bytes):
        return message
    raise UnreadableAnswer("a text message came where a map was due")


def _check(text: str) -> None:
    try:
        failure = failure_in(text)
    except ValueError as error:
        raise UnreadableAnswer("a message is no JSON") from error
    if failure is not None:
        raise failure


def _check_end(error: ConnectionClosed) -> None:
    code = None if error.rcvd is None else error.rcvd.code
    if code == _RESTARTING:
        raise NotReady("the service is closing; what it had taken is answered") from error
    if code != _NORMAL:
        raise Unreachable(f"the stream broke: {error}") from error


def _refusal(error: Exception) -> ServiceError:
    if isinstance(error, InvalidStatus):
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return error_answer(response.status_code, headers, bytes(response.body or b""))
    return Unreachable(f"{type(error).__name__}: {error}")
