"""Streams over WebSockets: frames out, what became of them in.

It does not know what frames show.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection as SyncConnection
from websockets.sync.client import connect

from service.client.connection import Connection
from service.client.errors import NotReady, ServiceError, Unreachable, UnreadableAnswer
from service.client.http_wire import error_answer, failure_in, has_map, outcome_of, query_of
from service.client.question import StreamCall
from service.client.result import Outcome

_END = "end"
_NORMAL, _RESTARTING = 1000, 1012
_CLOSE_S = 1.0
_REFUSED = (OSError, TimeoutError, InvalidHandshake)


def stream(connection: Connection, call: StreamCall, frames: Iterator[bytes]) -> Generator[Outcome]:
    """Yield what became of each frame, in their order; `frames` is read in another thread."""
    with ExitStack() as opened:
        try:
            socket = opened.enter_context(connect(_url(connection, call), **_options(connection, call)))
        except _REFUSED as error:
            raise _refusal(error) from error
        threading.Thread(target=_send_all, args=(socket, frames), daemon=True).start()
        while True:
            try:
                text = _text(socket.recv())
                _check(text)
                body = _bytes(socket.recv()) if has_map(text) else None
            except ConnectionClosed as error:
                _check_end(error)
                return
            yield outcome_of(text, body)


def _send_all(socket: SyncConnection, frames: Iterator[bytes]) -> None:
    with suppress(ConnectionClosed):  # whoever receives hears why
        for frame in frames:
            socket.send(frame)
        socket.send(_END)


async def stream_async(
    connection: Connection, call: StreamCall, frames: AsyncIterator[bytes]
) -> AsyncGenerator[Outcome]:
    """Yield what became of each frame, in their order; `frames` is read in another task."""
    async with AsyncExitStack() as opened:
        opening = connect_async(_url(connection, call), **_options(connection, call))
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


async def _send_all_async(socket: ClientConnection, frames: AsyncIterator[bytes]) -> None:
    with suppress(ConnectionClosed):  # whoever receives hears why
        async for frame in frames:
            await socket.send(frame)
        await socket.send(_END)


def _url(connection: Connection, call: StreamCall) -> str:
    query = query_of(call.request) | {"scale_smoothing": repr(call.smoothing)}
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
