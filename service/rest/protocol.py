"""uvicorn's HTTP protocol with what it lacks: one request at a time, bounded parts, always one timer.

What never ends, or is no HTTP, is refused before there is one.
"""

import asyncio
import re
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import ClassVar

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.rest.errors import error_body
from service.rest.framing import Framing, Part, PartTooLargeError
from service.rest.sending import Sending
from service.rest.turns import Turns
from service.settings import Settings

PROBES = frozenset(("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"))
"""Paths that probes and Prometheus ask for every few seconds."""
_FOR_PROBES = 16
"""Connections beyond the most there may be; nothing but probes is answered on them."""
_PROBE_S = 2.0
_FIRST_REQUEST_S = 0.5
"""How long a closing server waits for the request of a client that has just come."""
_AFTER_APPLICATION_S = 1.0
"""What the application bounds itself is cut by the connection only later: the application says why."""
_HELD_BYTES = 65_536
"""With so many unparsed, no more are read."""
_OFFER = re.compile(rb"(?<=\n)upgrade:(?![ \t]*websocket[ \t]*\r?\n)[^\n]*\n", re.IGNORECASE)
_REFUSALS = {
    Part.HEAD: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large"),
    Part.TRAILERS: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the trailers are too large"),
    Part.CHUNK_SIZE: (HTTPStatus.BAD_REQUEST, "a chunk's size is too long"),
}


class State(Enum):
    """What a connection waits for; for each there is one timer."""

    HEAD = auto()
    """A request's line and headers, from connecting or from their first byte on."""
    BODY = auto()
    """The rest of the request, whether it is still wanted or not."""
    WORK = auto()
    """The answer."""
    SENDING = auto()
    """The client, to take what is sent."""
    IDLE = auto()
    """The next request."""
    CLOSING = auto()
    """The client, to take the last of it."""


class _Flow(FlowControl):
    """Reads only while neither the application nor the parser has enough."""

    def __init__(self, transport: asyncio.Transport, on_wanted: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_wanted = on_wanted
        self._held = self._paused = False

    def pause_reading(self) -> None:
        self.read_paused = True
        self._apply()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._apply()
            self._on_wanted()

    def hold(self, held: bool) -> None:
        """Say whether the parser has enough."""
        self._held = held
        self._apply()

    def _apply(self) -> None:
        paused = self.read_paused or self._held
        if paused != self._paused and not self._transport.is_closing():
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    settings: ClassVar[Settings]
    turns: ClassVar[Turns | None] = None
    """Of all connections of one server."""

    _flow: _Flow
    _state: State | None = None
    _timer: asyncio.TimerHandle | None = None
    _head_open = _message_open = False
    _deaf = _ending = _only_probes = _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed too."""
        super().connection_made(transport)
        kind = type(self)
        if kind.turns is None:
            kind.turns = Turns(self.loop)
        self._turns = kind.turns
        self._flow = self.flow = _Flow(transport, self._wake)
        self._framing = Framing(self.settings.max_head_bytes)
        self._sending = Sending(transport, self.settings)
        others = len(self.connections) - 1
        self._only_probes = others >= self.settings.max_connections
        self._rearm()
        if others >= self.settings.max_connections + _FOR_PROBES:
            self._refuse_connection()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock; nothing that was not begun will be."""
        self._stop_clock()
        self._framing.pending.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep bytes until it is their turn."""
        if self._deaf or self.transport.is_closing():
            return
        self._framing.pending += data
        self._wake()
        self._flow.hold(len(self._framing.pending) > _HELD_BYTES)

    def step(self) -> bool:
        """Parse a little; return whether more can be parsed now."""
        if self._deaf or self.transport.is_closing():
            self._framing.pending.clear()
            return False
        if self._is_busy() or self._flow.read_paused:
            return False
        part, begins_line = self._framing.part, self._framing.begins_line
        try:
            data = self._framing.next_slice()
        except PartTooLargeError as error:
            self._refuse(*_REFUSALS[error.part])
            return False
        if data:
            self._parse(_without_offers(data, begins_line=begins_line) if part is Part.HEAD else data)
            self._rearm()
        if not self._upgraded:
            self._flow.hold(len(self._framing.pending) > _HELD_BYTES)
        return bool(data and self._framing.pending)

    def on_message_begin(self) -> None:
        """Open a head."""
        super().on_message_begin()
        self._head_open = self._message_open = True

    def on_headers_complete(self) -> None:
        """Close the head, and begin to answer."""
        self._head_open = False
        if self._only_probes and self.url.partition(b"?")[0].decode("latin-1") not in PROBES:
            self._refuse_connection()
            return
        super().on_headers_complete()
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            self._framing.begin_body(None)
        elif length := int(headers.get(b"content-length", 0)):
            self._framing.begin_body(length)
        if (self._ending or self._only_probes) and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        if not self._deaf and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next request, but only behind the answer to this one."""
        self._message_open = False
        self._framing.begin_head()
        if not self._deaf and self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Turn to the next request."""
        self.server_state.total_requests += 1
        self._rearm()
        self._flow.resume_reading()
        self._wake()

    def pause_writing(self) -> None:
        """Watch the client read."""
        super().pause_writing()
        self._rearm()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._rearm()

    def shutdown(self) -> None:
        """Close with the server: at once where nothing is asked, else after the answer.

        A client that has just connected is likely to be sending its first request already.
        """
        if self._head_open or self.cycle is None:
            self._ending, self._state = True, None
            self._rearm()
        elif self.cycle.response_complete:
            self.transport.close()
            self._rearm()
        else:
            self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with what came behind the request; its clock is another from here on."""
        self._upgraded = True
        self._stop_clock()
        rest = bytes(self._framing.pending)
        self._framing.pending.clear()
        self._flow.hold(False)
        super().handle_websocket_upgrade()
        if rest:
            protocol = self.transport.get_protocol()
            protocol.data_received(rest)  # type: ignore[attr-defined]

    def _wake(self) -> None:
        if self._framing.pending:
            self._turns.add(self)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if not self._deaf and not self.transport.is_closing() and self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not a valid HTTP request")

    def _is_busy(self) -> bool:
        """Whether a request is here, whole, and not answered."""
        return not self._message_open and self.cycle is not None and not self.cycle.response_complete

    # The timer

    def _rearm(self) -> None:
        """Have the timer that the connection's state needs, and no other."""
        if self._upgraded:
            return
        state = self._find_state()
        if state is self._state:
            return
        self._stop_clock()
        self._state = state
        self._sending.begin()
        self._timer = self.loop.call_later(self._seconds(state), self._expire)

    def _find_state(self) -> State:
        if self.transport.is_closing():
            return State.CLOSING
        if self.flow.write_paused:
            return State.SENDING
        if self._head_open or self.cycle is None:
            return State.HEAD
        if self._message_open and not self._deaf:
            return State.BODY
        return State.IDLE if self.cycle.response_complete else State.WORK

    def _seconds(self, state: State) -> float:
        settings = self.settings
        match state:
            case State.HEAD if self._ending:
                return _FIRST_REQUEST_S
            case State.HEAD:
                return min(
                    settings.head_timeout_s, _PROBE_S if self._only_probes else settings.head_timeout_s
                )
            case State.BODY:
                return settings.body_timeout_s + _AFTER_APPLICATION_S
            case State.WORK:
                # Depth is answered within the one, and an admin's reload within the other.
                return settings.request_timeout_s + settings.warm_up_timeout_s
            case State.IDLE:
                return settings.keep_alive_s
            case State.SENDING | State.CLOSING:
                return settings.stalled_peer_s

    def _stop_clock(self) -> None:
        self._state = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        state, self._state, self._timer = self._state, None, None
        match state:
            case State.HEAD if self._ending:
                self.transport.close()
            case State.HEAD:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the headers did not arrive in time")
            case State.BODY:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
            case State.IDLE:
                self.transport.close()
            case State.SENDING | State.CLOSING if self._sending.goes_on():
                pass
            case _:
                self.transport.abort()
        self._rearm()

    def _refuse_connection(self) -> None:
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open", "retry-after: 1\r\n")

    def _refuse(self, status: HTTPStatus, message: str, header: str = "") -> None:
        """Say what is wrong, and close; where half of an answer is out already, let it end first."""
        self._deaf = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                cycle.keep_alive = False
                self._rearm()
                return
            cycle.disconnected = True  # what is told from here on is the refusal
            cycle.message_event.set()
        body = error_body(status.name.lower(), message, request_id=None)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n{header}\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._rearm()


def _without_offers(lines: bytes, *, begins_line: bool) -> bytes:
    """Leave out offers to speak another protocol than WebSocket, as RFC 9110 (7.8) allows.

    The parser would take what follows for that protocol, though the sender means the request's body.
    """
    before = b"\n" if begins_line else b""
    return _OFFER.sub(b"", before + lines)[len(before) :]


def bounded_protocol(settings: Settings) -> type[BoundedHttpProtocol]:
    """Return the protocol class of one server, for ``uvicorn.Config(http=...)``."""
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), {"settings": settings, "turns": None})
