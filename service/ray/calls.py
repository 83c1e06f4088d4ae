"""gRPC calls as Ray Serve hands them on, answered by the very servicers of the gRPC transport."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from service.contract.errors import Overloaded, ServiceError
from service.kserve.servicer import OPEN_METHODS, InferenceCalls
from service.rpc.calls import TRANSPORT, Admitting, Answering
from service.rpc.errors import Context
from service.rpc.pb import depth_pb2, inference_pb2
from service.rpc.pb.depth_pb2_grpc import add_DepthServicer_to_server
from service.rpc.servicer import DepthCalls
from service.transports.frontend import Frontend, current_bodies

Metadata = Sequence[tuple[str, str | bytes]]
Replica = TypeVar("Replica")
SERVICES: Sequence[ServiceDescriptor] = (
    depth_pb2.DESCRIPTOR.services_by_name["Depth"],
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
)
"""What can be called."""


class RefusedError(Exception):
    """A servicer has aborted its call; the status is in the call's context."""


class RayCalls:
    """Answers the calls of every service, by the path that each has in gRPC.

    Args:
        transports: What the gRPC transport would be made from.
        version: The service's own.
    """

    def __init__(self, frontend: Frontend, *, version: str) -> None:
        self._frontend = frontend
        self._admitting = Admitting(frontend, OPEN_METHODS)
        handlers = _Handlers()
        server = cast(grpc.aio.Server, handlers)
        add_DepthServicer_to_server(DepthCalls(frontend), server)
        # Without admin calls: they would reach one replica of many.
        InferenceCalls(frontend, version=version, admin_key=None).add_to(server)
        self._handlers = handlers.by_path

    async def unary(self, path: str, request: Message, context: RayServegRPCContext) -> Message:
        """Handle one message with one.

        A refusal is answered with an empty message beside its status: Ray passes an exception's status on,
        but leaves its trailing metadata behind, and clients act on those.
        """
        call = _Call(context)
        refusal = self._admitting.admit(path, call.invocation_metadata())
        with self._frontend.counting_call(TRANSPORT):
            try:
                if refusal is not None:
                    await self._refuse(path, call, refusal)
                try:
                    current_bodies.get().take(request.ByteSize())
                except Overloaded as error:
                    await self._refuse(path, call, error)
                answer: Message = await self._handlers[path].unary_unary(request, call)
            except RefusedError:
                return Empty()
        return answer

    async def stream(
        self, path: str, requests: AsyncIterable[Message], context: RayServegRPCContext
    ) -> AsyncGenerator[Message]:
        """Handle a stream of messages with another.

        Raises:
            RefusedError: The stream was aborted; Ray passes the context's status on, without its metadata.
        """
        call = _Call(context)
        refusal = self._admitting.admit(path, call.invocation_metadata())
        if refusal is not None:
            await self._refuse(path, call, refusal)
        with self._frontend.counting_call(TRANSPORT):
            answering: Any = self._handlers[path].stream_stream(requests, call)
            # Closed with this one, and not whenever it is collected.
            async with aclosing(call.written_by(answering)) as messages:
                async for message in messages:
                    yield message

    async def _refuse(self, path: str, call: "_Call", refusal: ServiceError) -> None:
        async with Answering(self._frontend, cast(Context, call), path):
            raise refusal


class _Answers(Protocol):
    calls: RayCalls


def answering_calls(replica: type[Replica]) -> type[Replica]:
    """Give a class a method for each call of each service, by which name Ray asks for it."""
    for service in SERVICES:
        for method in service.methods:
            make = _streaming if method.client_streaming else _unary
            answer = make(f"/{service.full_name}/{method.name}")
            answer.__name__ = method.name
            setattr(replica, method.name, answer)
    return replica


def _unary(path: str) -> Callable[..., Awaitable[Message]]:
    async def answer(self: _Answers, request: Message, grpc_context: RayServegRPCContext) -> Message:
        return await self.calls.unary(path, request, grpc_context)

    return answer


def _streaming(path: str) -> Callable[..., AsyncGenerator[Message]]:
    async def answer(
        self: _Answers, requests: AsyncIterable[Message], grpc_context: RayServegRPCContext
    ) -> AsyncGenerator[Message]:
        async with aclosing(self.calls.stream(path, requests, grpc_context)) as messages:
            async for message in messages:
                yield message

    return answer


class _Handlers:
    """Stands where generated code expects a server, and keeps what it registers."""

    def __init__(self) -> None:
        self.by_path: dict[str, Any] = {}  # grpc knows no types of servicers with asyncio

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Leave it: the same handlers come by their names, too."""

    def add_registered_method_handlers(
        self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Keep a service's methods."""
        self.by_path.update({f"/{service}/{name}": handler for name, handler in handlers.items()})


class _Call:
    """What a servicer asks of its context, told by Ray's.

    Ray tells no deadline: the service's own bound counts, and a caller that gives up cancels the call.
    """

    def __init__(self, context: RayServegRPCContext) -> None:
        self._context = context
        self._written: asyncio.Queue[Message] = asyncio.Queue(1)

    def invocation_metadata(self) -> Metadata:
        return self._context.invocation_metadata()

    def time_remaining(self) -> None:
        return None

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self._context.set_trailing_metadata(cast(list[tuple[str, str]], list(metadata)))

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        self._context.set_code(code)
        self._context.set_details(details)
        self.set_trailing_metadata(trailing_metadata)
        raise RefusedError(details)

    async def write(self, message: Message) -> None:
        await self._written.put(message)

    async def written_by(self, servicer: Awaitable[None]) -> AsyncGenerator[Message]:
        """Run a servicer; yield what it writes, and raise what it raises."""
        answering = asyncio.ensure_future(servicer)
        waiting = asyncio.ensure_future(self._written.get())
        try:
            while True:
                await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    yield waiting.result()
                    waiting = asyncio.ensure_future(self._written.get())
                elif self._written.empty():
                    break  # the servicer has ended, and all that it wrote is taken
            await answering
        finally:
            waiting.cancel()
            answering.cancel()
            await asyncio.wait({answering})
