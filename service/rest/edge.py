"""The outermost layer of the HTTP transport: request ids, traces, keys, errors and the line in the log.

Plain ASGI, because every request pays for it.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from service.contract.errors import NotReady, RateLimited, Unauthenticated
from service.rest.errors import CLIENT_CLOSED_REQUEST, TRANSPORT, ClientGone, ErrorForms, HttpError, answer_of
from service.rest.exchange import Exchange
from service.rest.prefix import path_within
from service.rest.protocol import PROBES
from service.telemetry.logs import accept_request_id, current_request_id
from service.transports.auth import bearer_key, current_caller, current_peer
from service.transports.frontend import Frontend

access = logging.getLogger("service.access")

_WANTED = frozenset(
    (
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"authorization",
        b"x-api-key",
        b"sec-websocket-protocol",
    )
)
KEY_SUBPROTOCOL = "key."
"""Browsers cannot send headers with a WebSocket: they offer the key as a subprotocol with this prefix."""
_PATH_CHARACTERS = 200


class Edge:
    """Wraps the application and answers for everything that it raises.

    Args:
        app: The application.
        frontend: What it shares with the other transports.
        open_paths: What is answered without a key: each path, and what lies under it.
        forms: Of errors.
    """

    def __init__(
        self, app: ASGIApp, *, frontend: Frontend, open_paths: Collection[str], forms: ErrorForms
    ) -> None:
        self._app = app
        self._frontend = frontend
        self._forms = forms
        self._open_paths = frozenset(open_paths)
        self._open_folders = tuple(f"{path}/" for path in open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        carried = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
        request_id = accept_request_id(carried.get(b"x-request-id"))
        method = scope.get("method", "WEBSOCKET")
        path = path_within(scope)
        exchange = Exchange(scope, receive, send, request_id, self._frontend, self._forms.of(path))
        started_at = time.perf_counter()
        token = current_request_id.set(request_id)
        try:
            with self._frontend.tracing.span(
                f"HTTP {method}", carried.get(b"traceparent"), carried.get(b"tracestate", "")
            ):
                await self._answer(scope, carried, exchange)
                caller = current_caller.get(None)
                # Probes come every few seconds for ever: they are logged only where somebody looks for them.
                level = logging.DEBUG if path in PROBES else logging.INFO
                access.log(
                    level,
                    "%s %s %d",
                    method,
                    path[:_PATH_CHARACTERS],
                    exchange.status,
                    extra={
                        "status": exchange.status,
                        "duration_ms": round((time.perf_counter() - started_at) * 1e3, 3),
                        "caller": None if caller is None else caller.name,
                    },
                )
        finally:
            current_request_id.reset(token)

    async def _answer(self, scope: Scope, carried: Mapping[bytes, str], exchange: Exchange) -> None:
        try:
            current_peer.set(str(scope.get("client")))
            if not self._is_open(path_within(scope)):
                current_caller.set(self._frontend.keyring.admit(_presented_key(carried)))
            # A handler of GET serves HEAD, too; the server leaves the body out.
            asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
            await self._app(asked, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status or not self._frontend.closing:
                raise
            # The server has waited for this request for as long as it may.
            await exchange.refuse(answer_of(NotReady("the server is closing", retry_after_s=1.0)))
        except ClientGone:
            exchange.status = CLIENT_CLOSED_REQUEST
        except Exception as error:  # the transport's edge: nothing may leave it but an answer
            answer = answer_of(error)
            if isinstance(error, HttpError | Unauthenticated | RateLimited):
                self._frontend.count_refusal(TRANSPORT, answer.code)
            if exchange.status:
                raise  # half of an answer is out: only closing the connection tells the client
            await exchange.refuse(answer)

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or path.startswith(self._open_folders)


def _presented_key(carried: Mapping[bytes, str]) -> str | None:
    key = bearer_key(carried.get(b"authorization"), carried.get(b"x-api-key"))
    if key is None:
        for protocol in carried.get(b"sec-websocket-protocol", "").split(","):
            if protocol.strip().startswith(KEY_SUBPROTOCOL):
                return protocol.strip().removeprefix(KEY_SUBPROTOCOL)
    return key
