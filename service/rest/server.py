"""uvicorn, with an orderly end: it owns the signals, and asks what else is to be closed."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.rest.handshakes import TlsListener
from service.rest.protocol import bounded_protocol
from service.rest.websocket import bounded_websocket
from service.scheduling.budget import ByteBudget
from service.settings import Settings
from service.transports.certificates import Certificates, server_context

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_LAST_TLS_S = 2.0
"""How long a client may take to close TLS."""
Step = Callable[[], Awaitable[None]]


def listen(settings: Settings) -> socket.socket:
    """Bind the HTTP transport's address.

    Raises:
        OSError: It cannot be had; the message names the settings.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # On every address of IPv6 those of IPv4 are heard too, as gRPC has it.
    both = settings.host == "::" and socket.has_dualstack_ipv6()
    address = (settings.host, settings.http_port)
    try:
        listener = socket.create_server(
            address, family=family, backlog=_BACKLOG, dualstack_ipv6=both, reuse_port=settings.reuse_port
        )
    except ValueError as error:
        raise OSError(f"DEPTH_REUSE_PORT is set, and this system does not have it: {error}") from error
    except OSError as error:
        raise OSError(
            f"HTTP cannot be served at {settings.host}:{settings.http_port} "
            f"(DEPTH_HOST, DEPTH_HTTP_PORT): {error.strerror or error}"
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Connections inherit it: a client that takes nothing of its answer must not hold the answer for ever.
        stalled_ms = round(settings.stalled_peer_s * 1e3)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
    return listener


class HttpServer(uvicorn.Server):
    """The HTTP transport, from opening to closing.

    The first signal closes it in order; a second one, of whatever kind, cuts that short.

    Args:
        app: The application.
        settings: Addresses, certificates, limits, times.
        bodies: The account of what WebSockets bring.
        hold_out: The first step of closing, while connections are still taken.
        let_finish: The second, when no more are.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, *, bodies: ByteBudget, hold_out: Step, let_finish: Step
    ) -> None:
        super().__init__(_config(app, settings, bodies))
        self._settings = settings
        self._handshake_s = settings.head_timeout_s
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, as uvicorn does, but bound TLS handshakes in time and in number."""
        config = self.config
        if config.ssl is not None:
            config.ssl.sni_callback = _renewed(self._settings)
        self.servers = [await self._accepting(listener) for listener in sockets or []]
        self.started = True

    async def _accepting(self, listener: socket.socket) -> Any:
        """Return an asyncio server, or what stands for one."""
        if self.config.ssl is not None:
            return TlsListener(listener, self._protocol, self._tls())
        loop = asyncio.get_running_loop()
        return await loop.create_server(self._protocol, sock=listener, backlog=self.config.backlog)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        loop = asyncio.get_running_loop()
        protocol: asyncio.Protocol = kind(
            config=self.config, server_state=self.server_state, app_state={}, _loop=loop
        )
        return protocol

    def _tls(self) -> dict[str, Any]:
        if self.config.ssl is None:
            return {}
        return {
            "ssl": self.config.ssl,
            "ssl_handshake_timeout": self._handshake_s,
            "ssl_shutdown_timeout": _LAST_TLS_S,
        }

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
        """Close the listeners, and serve the connections that the kernel has completed until then.

        Closing a listener resets those that nobody has accepted. Duplicates keep it open until none is left.
        """
        loop = asyncio.get_running_loop()
        listeners = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        accepted = []
        for listener in listeners:
            listener.setblocking(False)
            with listener, contextlib.suppress(OSError):  # none is left, or no more can be had
                while True:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    accepted.append(loop.connect_accepted_socket(self._protocol, connection, **self._tls()))
        await asyncio.gather(*accepted, return_exceptions=True)

    async def _unless_forced(self, step: Awaitable[None]) -> None:
        task = asyncio.ensure_future(step)
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _renewed(settings: Settings) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """Have each connection shown the certificate that the files hold when it comes."""
    certificates = Certificates(settings, server_context)

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = certificates.current()

    return choose


def _config(app: ASGIApp, settings: Settings, bodies: ByteBudget) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded_protocol(settings),
        ws=bounded_websocket(settings, bodies),
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
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=None if settings.tls_client_ca is None else str(settings.tls_client_ca),
        ssl_cert_reqs=2 if settings.tls_client_ca is not None else 0,  # ssl.CERT_REQUIRED, ssl.CERT_NONE
    )
