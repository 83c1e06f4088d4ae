"""What both transports do, blocking and asynchronous."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Protocol

from depth_client.connection import Connection
from depth_client.contract import DepthAnswer
from depth_client.outgoing import Outgoing
from depth_client.question import Call, DepthCall, StreamCall
from depth_client.result import ModelDescription, Outcome


class Transport(Protocol):
    """Asks one service, from any thread. What goes wrong is a ServiceError."""

    def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        ...

    def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        ...

    def check_ready(self, call: Call) -> None:
        """Return where the service is ready, and raise NotReady or Unreachable where it is not."""
        ...

    def stream(self, call: StreamCall, frames: Iterator[Outgoing]) -> Generator[Outcome]:
        """Yield what became of each frame, in their order; `frames` is read in another thread."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


class AsyncTransport(Protocol):
    """Likewise, in one event loop."""

    async def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        ...

    async def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        ...

    async def check_ready(self, call: Call) -> None:
        """Return where the service is ready, and raise NotReady or Unreachable where it is not."""
        ...

    def stream(self, call: StreamCall, frames: AsyncIterator[Outgoing]) -> AsyncGenerator[Outcome]:
        """Yield what became of each frame, in their order; `frames` is read in another task."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


def open_transport(connection: Connection) -> Transport:
    """Make what an address asks for; only that one's packages are needed."""
    if connection.is_grpc:
        from depth_client.grpc_transport import GrpcTransport

        return GrpcTransport(connection)
    from depth_client.http_transport import HttpTransport

    return HttpTransport(connection)


def open_async_transport(connection: Connection) -> AsyncTransport:
    """The same, asynchronous."""
    if connection.is_grpc:
        from depth_client.grpc_transport import AsyncGrpcTransport

        return AsyncGrpcTransport(connection)
    from depth_client.http_transport import AsyncHttpTransport

    return AsyncHttpTransport(connection)
