"""What every gRPC call goes through: request id, key, trace, errors and the line in the log."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeAlias

import grpc

from service.contract.errors import DeadlineExceeded, NotReady, RateLimited, ServiceError, Unauthenticated
from service.rpc.errors import Context, answer_of
from service.rpc.wire import Wire
from service.telemetry.logs import accept_request_id, current_request_id
from service.transports.auth import bearer_key, current_caller, current_peer
from service.transports.frontend import Frontend

TRANSPORT = "grpc"
"""What this transport is called in metrics."""
access = logging.getLogger("service.access")

OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
"""What is answered without a key: whether the server lives, and what it could be asked."""
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class Admitting(grpc.aio.ServerInterceptor):
    """Names each call and asks it for a key, before its message is read.

    Args:
        frontend: What it shares with the other transports.
        open_methods: What further begins so is answered without an API key.
        transports: What calls are counted as, by the beginnings of their paths; else as `TRANSPORT`.
    """

    def __init__(
        self,
        frontend: Frontend,
        open_methods: tuple[str, ...] = (),
        transports: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._frontend = frontend
        self._transports = transports
        self._open = (*OPEN_SERVICES, *open_methods)
        self.closed = False
        """Whether further calls are refused: by a word of ours, where grpc would cancel them without one."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Let the call in, or have it refused by a handler of our own."""
        method = handler_call_details.method
        refusal = self.admit(method, handler_call_details.invocation_metadata or ())
        handler = await continuation(handler_call_details)
        return None if handler is None else self._answering(handler, method, refusal)

    def admit(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> ServiceError | None:
        """Name a call and ask it for a key; return why it is refused, if it is."""
        said = dict(metadata)
        current_request_id.set(accept_request_id(_text(said.get("x-request-id"))))
        if method.startswith(self._open):
            return None
        key = bearer_key(_text(said.get("authorization")), _text(said.get("x-api-key")))
        try:
            current_caller.set(self._frontend.keyring.admit(key))
            if self.closed:
                raise NotReady("the server is closing", retry_after_s=1.0)
        except ServiceError as error:
            return error
        return None

    def _answering(
        self, handler: "grpc.RpcMethodHandler[Any, Any]", method: str, refusal: ServiceError | None
    ) -> Handler:
        """Return a handler that bounds what the call sends and is sent; to refuse, it reads nothing."""

        async def answer(_: object, context: Context) -> None:
            current_peer.set(context.peer())
            with Wire(context, self._frontend, handler, self._transport_of(method)) as wire:
                try:
                    if refusal is not None:
                        raise refusal
                    request = await wire.request()
                except ServiceError as error:
                    async with Answering(self._frontend, context, method):
                        raise error
                await wire.answer(request)

        return grpc.stream_stream_rpc_method_handler(answer)

    def _transport_of(self, method: str) -> str:
        return next((name for start, name in self._transports.items() if method.startswith(start)), TRANSPORT)


class Answering:
    """Answers for whatever its ``async with`` raises; every method of every service runs inside one.

    Args:
        frontend: Where spans are opened.
        context: The call's.
        method: Its name, for logs and spans.
    """

    def __init__(self, frontend: Frontend, context: Context, method: str) -> None:
        self._frontend = frontend
        self._context = context
        self._method = method
        self._request_id = current_request_id.get() or ""

    async def __aenter__(self) -> Self:
        metadata = dict(self._context.invocation_metadata() or ())
        self._context.set_trailing_metadata((("x-request-id", self._request_id),))
        parent, state = _text(metadata.get("traceparent")), _text(metadata.get("tracestate"))
        self._span = self._frontend.tracing.span(f"gRPC {self._method}", parent, state or "")
        self._span.__enter__()
        self._started_at = time.perf_counter()
        self._frontend.calls.begin()
        return self

    async def write(self, response: object) -> None:
        """Send a stream's next answer once the client has room for it.

        Raises:
            DeadlineExceeded: It took it too slowly.
        """
        await self._context.write(response)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                answer = answer_of(error)
                if isinstance(error, Unauthenticated | RateLimited):
                    self._frontend.count_refusal(TRANSPORT, answer.code)
                self._log(answer.status)
                metadata = answer.trailing_metadata(self._request_id)
                try:
                    await self._context.abort(answer.status, answer.message, metadata)
                except grpc.aio.InternalError:  # the caller has just cancelled: nobody is left to be told
                    raise asyncio.CancelledError from error
            self._log(grpc.StatusCode.OK if error is None else grpc.StatusCode.CANCELLED)
        finally:
            self._frontend.calls.end()
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
    """Return how long the caller of a call still waits; None without a deadline.

    Raises:
        DeadlineExceeded: No longer. (The caller's own library reports this, too.)
    """
    remaining: float | None = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineExceeded("the call's deadline passed before it was looked at")
    return remaining


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None
