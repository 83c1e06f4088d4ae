"""Questions over HTTP, one connection kept for many, and streams over WebSockets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass

import httpx

from depth_client import websocket
from depth_client.connection import Connection
from depth_client.contract import DepthAnswer, SparseDepth
from depth_client.errors import DeadlineExceeded, ServiceError, Unreachable
from depth_client.http_wire import answer_of, error_answer, form_of, models_of, query_of
from depth_client.outgoing import Outgoing
from depth_client.question import Call, DepthCall, StreamCall
from depth_client.result import ModelDescription, Outcome

_LONGEST_TOLD_S = 86_400.0
"""Of deadlines; a header with a huge number would be refused."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None = None
    form: Mapping[str, str] | None = None
    """In place of a body: its texts, beside `files`."""
    files: Mapping[str, bytes] | None = None


def _asked_for_depth(call: DepthCall) -> _Asked:
    remaining_ms = min(call.remaining_s(), _LONGEST_TOLD_S) * 1e3
    image = call.request.image
    headers = call.headers | {
        "content-type": "application/octet-stream",
        "x-request-deadline-ms": f"{max(remaining_ms, 0.001):.3f}",
    }
    request, body = call.request, image if isinstance(image, bytes) else image.tobytes()
    path = "/v1/depth" if request.map else "/v1/distances"
    query = query_of(request)
    form = form_of(request)
    if form is None:
        return _Asked(method="POST", path=path, query=query, headers=headers, body=body)
    del headers["content-type"]
    files = {"image": body} | (
        {"sparse_depth": one.png} if isinstance(one := request.anchor, SparseDepth) else {}
    )
    return _Asked(method="POST", path=path, query=query, headers=headers, form=form, files=files)


def _asked(path: str, call: Call) -> _Asked:
    return _Asked(method="GET", path=path, query={}, headers=call.headers)


def _settings(connection: Connection) -> tuple[str, dict[str, str]]:
    # Depth maps do not get smaller by gzip; they only get slower.
    return f"{connection.scheme}://{connection.host}{connection.path}", {"accept-encoding": "identity"}


def _timeout(connection: Connection, call: Call) -> httpx.Timeout:
    left_s = call.remaining_s()
    return httpx.Timeout(left_s, connect=min(connection.connect_timeout_s, left_s))


def _failure(error: httpx.HTTPError, call: Call) -> ServiceError:
    failure: ServiceError = Unreachable(f"{type(error).__name__}: {error}".removesuffix(": "))
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        failure = DeadlineExceeded("the call's time was over before there was an answer")
    failure.request_id = call.request_id
    return failure


class HttpTransport:
    """Asks over HTTP, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        url, headers = _settings(connection)
        verify = connection.tls.context() if connection.is_encrypted else True
        self._client = httpx.Client(base_url=url, headers=headers, verify=verify)

    def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        return answer_of(*self._ask(_asked_for_depth(call), call))

    def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        return models_of(self._ask(_asked("/v1/models", call), call)[1])

    def check_ready(self, call: Call) -> None:
        """Return where the service is ready."""
        self._ask(_asked("/readyz", call), call)

    def stream(self, call: StreamCall, frames: Iterator[Outgoing]) -> Generator[Outcome]:
        """Yield what became of each frame."""
        return websocket.stream(self._connection, call, frames)

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def _ask(self, asked: _Asked, call: Call) -> tuple[httpx.Headers, bytes]:
        try:
            with self._client.stream(
                asked.method,
                asked.path,
                params=asked.query,
                headers=asked.headers,
                content=asked.body,
                data=asked.form,
                files=asked.files,
                timeout=_timeout(self._connection, call),
            ) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    call.remaining_s()  # an answer that trickles in may not outlast the deadline
        except httpx.HTTPError as error:
            raise _failure(error, call) from error
        return _read(response, b"".join(parts))


class AsyncHttpTransport:
    """Asks over HTTP, in one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        url, headers = _settings(connection)
        verify = connection.tls.context() if connection.is_encrypted else True
        self._client = httpx.AsyncClient(base_url=url, headers=headers, verify=verify)

    async def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        return answer_of(*await self._ask(_asked_for_depth(call), call))

    async def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        return models_of((await self._ask(_asked("/v1/models", call), call))[1])

    async def check_ready(self, call: Call) -> None:
        """Return where the service is ready."""
        await self._ask(_asked("/readyz", call), call)

    def stream(self, call: StreamCall, frames: AsyncIterator[Outgoing]) -> AsyncGenerator[Outcome]:
        """Yield what became of each frame."""
        return websocket.stream_async(self._connection, call, frames)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def _ask(self, asked: _Asked, call: Call) -> tuple[httpx.Headers, bytes]:
        try:
            async with asyncio.timeout(call.remaining_s()):
                response = await self._client.request(
                    asked.method,
                    asked.path,
                    params=asked.query,
                    headers=asked.headers,
                    content=asked.body,
                    data=asked.form,
                    files=asked.files,
                    timeout=_timeout(self._connection, call),
                )
        except httpx.HTTPError as error:
            raise _failure(error, call) from error
        except TimeoutError:
            raise _failure(httpx.ReadTimeout("the deadline passed"), call) from None
        return _read(response, response.content)


def _read(response: httpx.Response, body: bytes) -> tuple[httpx.Headers, bytes]:
    if response.status_code != httpx.codes.OK:
        raise error_answer(response.status_code, response.headers, body)
    return response.headers, body
