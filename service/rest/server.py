"""uvicorn, with an orderly end: it owns the signals, and asks what else is to be closed.

It does not know what it serves.
"""

import asyncio
import contextlib
import ctypes
import logging
import math
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from service.rest.protocol import bounded_protocol
from service.settings import Settings

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_ACCEPT_S = 0.05
"""Long enough for the loop to accept what the kernel has completed, many times over."""
_SO_ATTACH_FILTER = 26
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of TCP's flags
    (0x45, 0, 1, 0x02),  # is SYN among them?
    (0x06, 0, 0, 0),  # then drop
    (0x06, 0, 0, 0xFFFF_FFFF),  # else keep
)
"""A classic BPF program: code, jump where true, jump where false, operand."""
Step = Callable[[], Awaitable[None]]


def listen(settings: Settings) -> socket.socket:
    """Bind the HTTP door's address.

    Raises:
        OSError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.http_port), family=family, backlog=_BACKLOG)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Connections inherit it: a client that takes nothing of its answer must not hold the answer for ever.
        stalled_ms = round(settings.stalled_peer_s * 1e3)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
    return listener


def _turn_away(listener: socket.socket) -> None:
    """Let the kernel begin no more connections.

    Closing a listener resets those connections that the kernel has completed and nobody has accepted yet.
    With this filter there soon are none: it drops every packet that asks for a new connection, so that the
    client asks again a second later and is refused, which it can tell from a lost request.
    """
    if not sys.platform.startswith("linux"):
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(buffer))
    with contextlib.suppress(
        OSError
    ):  # some sandboxes know no filters; the race is then as long as elsewhere
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


class HttpServer(uvicorn.Server):
    """The HTTP door, from opening to closing.

    The first signal closes it in order; a second one, of whatever kind, cuts that short.

    Args:
        app: The application.
        settings: Addresses, certificates, limits, times.
        hold_out: The first step of closing, while connections are still taken.
        let_finish: The second, when no more are.
    """

    def __init__(self, app: ASGIApp, settings: Settings, *, hold_out: Step, let_finish: Step) -> None:
        super().__init__(_config(app, settings))
        self._hold_out = hold_out
        self._let_finish = let_finish
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()
        self.forced_by: signal.Signals | None = None
        """The signal that cut the closing short."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal; called between two instructions of whatever is running."""
        # Signals are not raised again when all is closed, as uvicorn does: an orderly end is a success.
        loop = asyncio.get_running_loop()
        if self.should_exit:
            self.forced_by = signal.Signals(sig)
            self.force_exit = True
            loop.call_soon_threadsafe(self._forced.set)
        self.should_exit = True  # at once: the next signal may come before the loop's next turn
        loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Begin the orderly end."""
        self.should_exit = True
        self._asked.set()

    async def main_loop(self) -> None:
        """Wait until asked to close; once a second, bring the date in the headers up to date."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._asked.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close in order: hold out, take no more connections, let what was taken finish."""
        logger.info("closing")
        await self._unless_forced(self._hold_out())
        await self._unless_forced(self._stop_accepting(sockets or []))
        await self._unless_forced(self._let_finish())
        await super().shutdown(sockets)

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        """Close the listeners without cutting off who is between the kernel's door and ours."""
        for listener in sockets:
            _turn_away(listener)
        await asyncio.sleep(_ACCEPT_S)
        for server in self.servers:
            server.close()

    async def _unless_forced(self, step: Awaitable[None]) -> None:
        task = asyncio.ensure_future(step)
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded_protocol(
            head_timeout_s=settings.head_timeout_s,
            max_head_bytes=settings.max_head_bytes,
            max_connections=settings.max_connections,
        ),
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # images do not shrink
        loop="none",  # we run inside one
        lifespan="off",  # what the application needs is opened around it
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=None,
        backlog=_BACKLOG,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=None if settings.tls_client_ca is None else str(settings.tls_client_ca),
        ssl_cert_reqs=2 if settings.tls_client_ca is not None else 0,  # ssl.CERT_REQUIRED, ssl.CERT_NONE
    )
