"""uvicorn's WebSocket protocol with what it lacks: bytes in an account, parsing in turns, a watched peer."""

import struct
from asyncio.transports import BaseTransport, Transport
from typing import ClassVar, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from service.contract.errors import Overloaded
from service.rest.sending import Sending
from service.rest.turns import Turns
from service.scheduling.budget import ByteBudget, Share
from service.settings import Settings

TRANSPORT = "websocket"
"""What this transport is called in metrics."""
_SLICE = 4096
_HELD_BYTES = 65_536
_LINGER_S = 2.0
"""How long a client that was hung up on may take to see why."""
_PIECE_BYTES = 64
"""What Python keeps beside the bytes of each piece of a message."""


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    settings: ClassVar[Settings]
    bodies: ClassVar[ByteBudget]
    turns: ClassVar[Turns | None] = None
    """Of all connections of one server."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Start the clock, which ends only with the connection."""
        super().connection_made(transport)
        kind = type(self)
        if kind.turns is None:
            kind.turns = Turns(self.loop)
        self._turns = kind.turns
        self._pending = bytearray()
        self._deaf = False
        self._queued: list[int] = []
        """Sizes of messages that the application has not taken."""
        self._parts = self._part_bytes = 0
        """Of the message that is coming."""
        self._share = Share(self.bodies, TRANSPORT, f"peer {self.client}")
        self._sending = Sending(cast(Transport, transport), self.settings)
        self._read = False
        """Whether the client has taken nearly all that it was sent at some moment since the last look."""
        self._timer = self.loop.call_later(self.settings.head_timeout_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and give back what is held."""
        self._timer.cancel()
        self._pending.clear()
        self._share.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep bytes until it is their turn; the first are the request that opens the stream."""
        if self._deaf:
            return
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self._pending += data
        if len(self._pending) > _HELD_BYTES:
            self.transport.pause_reading()
        self._turns.add(self)

    def step(self) -> bool:
        """Parse a little; return whether more can be parsed now."""
        if self.transport.is_closing():
            self._pending.clear()
            return False
        if self.read_paused or not self.handshake_complete:  # the application is not yet so far
            return False
        data = bytes(self._pending[:_SLICE])
        del self._pending[:_SLICE]
        super().data_received(data)
        if not self._deaf:
            self._count()
        if not self._pending and not self.read_paused:
            self.transport.resume_reading()
        return bool(self._pending)

    def handle_ping(self) -> None:
        """Respond to a ping, where the client reads what it is sent."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        """Queue a message; its bytes are held until the application takes it."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self._hang_up(CloseCode.INVALID_DATA, "a text message is not UTF-8")
            return
        self._queued.append(sum(map(len, self.frames)))
        self._parts = self._part_bytes = 0
        super().send_receive_event_to_app()

    async def receive(self) -> ASGIReceiveEvent:
        """Hand the application a message, which counts it from here on."""
        message = await super().receive()
        if message["type"] == "websocket.receive" and self._queued:
            self._queued.pop(0)
            self._count()
        if self._pending and not self.read_paused:
            self._turns.add(self)
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Send, and wait until the client has nearly all of it."""
        data = message.get("bytes") if message["type"] == "websocket.send" else None
        if data is None:
            await super().send(message)
            if message["type"] == "websocket.accept" and self._pending:
                self._turns.add(self)
            if message["type"] == "websocket.http.response.body" and self.close_sent:
                self.handshake_complete = True  # refused, which uvicorn would log as an error
        else:
            await self.writable.wait()
            if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
                raise ClientDisconnected
            # As websockets would, but without copying an answer of a hundred megabytes twice.
            self.transport.write(_binary_head(len(data)))
            self.transport.write(data)
        await self.writable.wait()

    def resume_writing(self) -> None:
        """Go on."""
        self._read = True
        super().resume_writing()

    def shutdown(self) -> None:
        """Close with the server, but let the client read why: unread bytes would reset its connection."""
        if self.close_sent and self.close_timer is not None and not self.transport.is_closing():
            self.stop_keepalive()
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            super().shutdown()

    def _count(self) -> None:
        """Hold as many bytes as there are; hang up where there is no room for them."""
        new = self.frames[self._parts :]
        self._parts += len(new)
        self._part_bytes += sum(map(len, new)) + _PIECE_BYTES * len(new)
        try:
            self._share.resize(len(self.conn.reader.buffer) + self._part_bytes + sum(self._queued))
        except Overloaded as error:
            self._hang_up(CloseCode.TRY_AGAIN_LATER, str(error)[:120])

    def _hang_up(self, code: CloseCode, reason: str) -> None:
        if self.close_sent:
            return
        self.conn.fail(code, reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self._deaf = True
        self._pending.clear()
        self.frames.clear()
        self._parts = self._part_bytes = 0
        # Still read, or the client would find its connection reset instead of the reason.
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _look(self) -> None:
        """Hang up where the client has not opened the stream, or takes what it is sent too slowly."""
        goes_on = self._read or self._sending.goes_on()
        if not self.handshake_complete or (not goes_on and self.transport.get_write_buffer_size()):
            self.transport.abort()
        self._read = False
        self._sending.begin()
        self._timer = self.loop.call_later(self.settings.stalled_peer_s, self._look)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary_head(length: int) -> bytes:
    """Write the head of a server's binary frame (RFC 6455, 5.2)."""
    if length < 126:
        return struct.pack("!BB", 0x82, length)
    if length < 65536:
        return struct.pack("!BBH", 0x82, 126, length)
    return struct.pack("!BBQ", 0x82, 127, length)


def bounded_websocket(settings: Settings, bodies: ByteBudget) -> type[BoundedWebSocketProtocol]:
    """Return the protocol class of one server, for ``uvicorn.Config(ws=...)``."""
    own = {"settings": settings, "bodies": bodies, "turns": None}
    return type("BoundedWebSocketProtocol", (BoundedWebSocketProtocol,), own)
