"""One call on the wire: bytes in, bytes out, each counted in its account and each under a timer.

grpc would parse messages in the event loop, whatever is in them, and hold what is sent for as long as the
client likes. So handlers are registered without a parser, and this stands between grpc and a servicer. A
unary call is a stream of one message here, whose reading and writing can be bounded.
"""

import asyncio
from collections.abc import AsyncIterator
from inspect import isasyncgen
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from service.contract.errors import DeadlineExceeded, InvalidArgument, Overloaded
from service.rpc.errors import Context
from service.rpc.scan import check_counts
from service.transports.frontend import Frontend, current_answers, current_bodies, current_message_bytes
from service.transports.threads import by_size

_GRACE_S = 0.25
_ASSUMED = 8
"""grpc does not say how much of a message has arrived. One that takes longer is counted as an
eighth of the largest until it is here."""
MessageT = TypeVar("MessageT", bound=Message)


class Wire:
    """What a servicer has for its context.

    Use it as ``with``: at its end, whatever the call held is given back.

    Args:
        context: grpc's.
        frontend: Its accounts and its times.
        handler: Knows the messages' classes, and the servicer's method.
        transport: What it is called in metrics.
    """

    def __init__(
        self, context: Context, frontend: Frontend, handler: "grpc.RpcMethodHandler[Any, Any]", transport: str
    ) -> None:
        self._context, self._handler = context, handler
        self._frontend, self._settings = frontend, frontend.settings
        self._counting = frontend.counting_call(transport)

    def __enter__(self) -> Self:
        self._counting.__enter__()
        self._bodies, self._answers = current_bodies.get(), current_answers.get()
        return self

    def __exit__(self, *_: object) -> None:
        self._counting.__exit__(None, None, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def answer(self, request: object) -> None:
        """Have the servicer answer: what it returns, what it yields and what it writes is sent."""
        handler: Any = self._handler
        methods = handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream
        answering: Any = next(method for method in methods if method is not None)(request, self)
        if isasyncgen(answering):
            parts: Any = answering
            async for part in parts:
                await self.write(part)
            return
        message: Any = await answering
        if message is not None:  # else the servicer wrote by itself
            await self.write(message)

    async def request(self) -> object:
        """Return what the servicer is called with: a message, or an iterator of messages.

        Raises:
            ServiceError: The one message did not arrive in time, is none, or has no room.
        """
        if self._handler.request_streaming:
            return self._messages()
        raw = await self._receive()
        if raw is None:
            raise InvalidArgument("the call brought no message; expected one")
        self._bodies.take(len(raw))
        return await self._parse(raw)

    async def write(self, message: Message) -> None:
        """Send a message once the client has room for it.

        Raises:
            DeadlineExceeded: The client took it too slowly.
        """
        data = await by_size(self._answers.held_bytes, message.SerializeToString)
        timeout_s = self._settings.stalled_peer_s + len(data) / self._settings.least_bytes_per_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._context.write(data)
        except TimeoutError:
            raise DeadlineExceeded(
                f"an answer of {len(data)} bytes was not taken within {timeout_s:g} s; the call is closed"
            ) from None

    async def _messages(self) -> AsyncIterator[Message]:
        while (raw := await self._context.read()) is not grpc.aio.EOF:
            self._bodies.take(len(raw))
            message = await self._parse(raw)
            current_message_bytes.set(len(raw))  # given back once the message has been handled
            yield message

    async def _receive(self) -> bytes | None:
        """Return the one message of a unary call; None where none comes."""
        loop = asyncio.get_running_loop()
        refusal: Overloaded | None = None
        assumed = self._settings.max_body_bytes // _ASSUMED

        def claim() -> None:
            nonlocal refusal
            try:
                self._bodies.take(assumed)
            except Overloaded as error:
                refusal = error
                deadline.reschedule(loop.time())

        timer = loop.call_later(_GRACE_S, claim)
        try:
            async with asyncio.timeout(self._settings.body_timeout_s) as deadline:
                raw = await self._context.read()
        except TimeoutError:
            raise refusal or DeadlineExceeded(
                f"the message did not arrive within {self._settings.body_timeout_s:g} s"
            ) from None
        finally:
            timer.cancel()
            self._bodies.give(self._bodies.held_bytes)
        return None if raw is grpc.aio.EOF else raw

    async def _parse(self, raw: bytes) -> Message:
        # The class, of which a handler has the constructor from bytes.
        kind: type[Message] = self._handler.request_deserializer.__self__  # type: ignore[union-attr]
        return await by_size(len(raw), _parsed, kind, raw, self._settings.max_request_numbers)


def _parsed(kind: type[MessageT], raw: bytes, most_numbers: int) -> MessageT:
    check_counts(raw, kind.DESCRIPTOR, most_numbers=most_numbers)
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise InvalidArgument(f"the message is no {kind.DESCRIPTOR.full_name}; expected one") from None
