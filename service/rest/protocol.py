"""uvicorn's HTTP protocol with what it lacks: bounds on a request's head, in bytes and in time.

It does not know requests: a head that never ends is refused before there is one.
"""

import asyncio
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.rest.errors import error_body

_FIRST_REQUEST_S = 0.5
"""How long a closing house waits for the request of a client that has just come."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection, that has so long and so many bytes to say what it wants."""

    head_timeout_s: ClassVar[float] = 10.0
    """From connecting, or from a request's first byte, to the end of its headers."""
    max_head_bytes: ClassVar[int] = 65_536
    max_connections: ClassVar[int] = 1024

    _head_timer: asyncio.TimerHandle | None = None
    _head_open = False
    _head_bytes = 0
    _deaf = False
    _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(transport)
        self._start_clock()
        if len(self.connections) > self.max_connections:
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open", "retry-after: 1\r\n"
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; count what belongs to a head that is still open."""
        if self._deaf:
            return
        super().data_received(data)
        if self._head_open and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")

    def on_message_begin(self) -> None:
        """Open a head."""
        super().on_message_begin()
        self._head_open = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._start_clock()

    def on_headers_complete(self) -> None:
        """Close the head."""
        self._head_open = False
        self._stop_clock()
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close with the house: at once where nothing is asked, else after the answer.

        A client that has just connected is likely to be sending its first request already.
        """
        if self._head_open or self.cycle is None:
            self._ending = True
            self._stop_clock()
            self._head_timer = self.loop.call_later(_FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; its clock is the WebSocket's from here on."""
        self._stop_clock()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every other error."""
        self._refuse(HTTPStatus.BAD_REQUEST, "this is not a valid HTTP request")

    def _start_clock(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_timed_out)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer is on its way to the request before; the connection ends with it.
            self.cycle.keep_alive = False
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the headers did not arrive in time")

    def _refuse(self, status: HTTPStatus, message: str, header: str = "") -> None:
        if self.transport.is_closing():
            return
        self._stop_clock()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            # Half of an answer is out: what is wrong with the next request cannot be told in its middle.
            self.cycle.keep_alive = False
            self._deaf = True
            return
        body = error_body(status.name.lower(), message, request_id=None)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n{header}\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def bounded_protocol(
    *, head_timeout_s: float, max_head_bytes: int, max_connections: int
) -> type[BoundedHttpProtocol]:
    """Answer the protocol class with these bounds, for ``uvicorn.Config(http=...)``."""
    return type(
        "BoundedHttpProtocol",
        (BoundedHttpProtocol,),
        {
            "head_timeout_s": head_timeout_s,
            "max_head_bytes": max_head_bytes,
            "max_connections": max_connections,
        },
    )
