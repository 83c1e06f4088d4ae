"""What every gRPC call goes through: request id, key, trace, errors and the line in the log.

It does not know what calls ask for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc

from service.auth import bearer_key, current_caller
from service.doors import Doors
from service.errors import DeadlineExceeded, NotReady, RateLimited, ServiceError, Unauthenticated
from service.logs import accept_request_id, current_request_id
from service.rpc.errors import Context, answer_of

DOOR = "grpc"
"""What this door is called in metrics."""
access = logging.getLogger("service.access")

OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
"""What is answered without a key: whether the server lives, and what it could be asked."""
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_HANDLER_OF_KIND = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Entrance(grpc.aio.ServerInterceptor):
    """Names each call and asks it for a key, before anything of ours looks at its message.

    grpc has received a unary call's message by then; it has no earlier place to ask at.

    Args:
        doors: What it shares with the other doors.
        open_methods: What further begins so is answered without an API key.
    """

    def __init__(self, doors: Doors, open_methods: tuple[str, ...] = ()) -> None:
        self._doors = doors
        self._open = (*OPEN_SERVICES, *open_methods)
        self.closed = False
        """Whether further calls are refused: by a word of ours, where grpc would cancel them without one."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Let the call in, or have it refused by a handler of our own."""
        metadata = dict(handler_call_details.invocation_metadata or ())
        current_request_id.set(accept_request_id(_text(metadata.get("x-request-id"))))
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(self._open):
            return handler
        key = bearer_key(_text(metadata.get("authorization")), _text(metadata.get("x-api-key")))
        try:
            current_caller.set(self._doors.keyring.admit(key))
            if self.closed:
                raise NotReady("the server is closing", retry_after_s=1.0)
        except ServiceError as error:
            return self._refusing(handler, handler_call_details.method, error)
        return handler

    def _refusing(
        self, handler: "grpc.RpcMethodHandler[Any, Any]", method: str, error: ServiceError
    ) -> Handler:
        async def refuse(_: object, context: Context) -> None:
            async with Answering(self._doors, context, method):
                raise error

        kind = _HANDLER_OF_KIND[handler.request_streaming, handler.response_streaming]
        return kind(refuse)


class Answering:
    """Answers for whatever its ``async with`` raises; every method of every service runs inside one.

    Args:
        doors: Where spans are opened.
        context: The call's.
        method: Its name, for logs and spans.
    """

    def __init__(self, doors: Doors, context: Context, method: str) -> None:
        self._doors = doors
        self._context = context
        self._method = method
        self._request_id = current_request_id.get() or ""

    async def __aenter__(self) -> Self:
        metadata = dict(self._context.invocation_metadata() or ())
        self._context.set_trailing_metadata((("x-request-id", self._request_id),))
        parent, state = _text(metadata.get("traceparent")), _text(metadata.get("tracestate"))
        self._span = self._doors.tracing.span(f"gRPC {self._method}", parent, state or "")
        self._span.__enter__()
        self._started_at = time.perf_counter()
        self._doors.calls.begin()
        return self

    async def write(self, response: object) -> None:
        """Send a stream's next answer once the client has room for it; give up where it takes none.

        Raises:
            DeadlineExceeded: It took nothing for as long as settings allow.
        """
        patience_s = self._doors.settings.stalled_peer_s
        try:
            async with asyncio.timeout(patience_s):
                await self._context.write(response)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no answer was taken for {patience_s:g} s; the stream is closed"
            ) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                answer = answer_of(error)
                if isinstance(error, Unauthenticated | RateLimited):
                    self._doors.count_refusal(DOOR, answer.code)
                self._log(answer.status)
                metadata = answer.trailing_metadata(self._request_id)
                try:
                    await self._context.abort(answer.status, answer.message, metadata)
                except grpc.aio.InternalError:  # he cancelled in this very moment: nobody is left to be told
                    raise asyncio.CancelledError from error
            self._log(grpc.StatusCode.OK if error is None else grpc.StatusCode.CANCELLED)
        finally:
            self._doors.calls.end()
            self._span.__exit__(kind, error, traceback)

    def _log(self, status: grpc.StatusCode) -> None:
        caller = current_caller.get(None)
        access.info(
            "%s %s",
            self._method,
            status.name,
            extra={
                "status": status.name,
                "duration_ms": round((time.perf_counter() - self._started_at) * 1e3, 3),
                "caller": None if caller is None else caller.name,
            },
        )


def remaining_s(context: Context) -> float | None:
    """Return how long the caller of a call still waits; None where he named no deadline.

    Raises:
        DeadlineExceeded: No longer. (His own library has told him so, or is about to.)
    """
    remaining: float | None = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineExceeded("the call's deadline passed before it was looked at")
    return remaining


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None
