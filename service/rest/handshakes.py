"""A listener with TLS that bounds the handshakes in progress, in number as well as in time.

A connection counts with its server only once its handshake is complete, and asyncio's own server tells
nobody of those before.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

MOST_HANDSHAKES = 64
"""In progress at once. One takes milliseconds of an honest client, so the oldest makes room for the next."""
_AT_ONCE = 16
"""Connections that are accepted in one turn of the event loop."""
_PAUSE_S = 1.0
"""How long no connection is accepted after the system had no file descriptor for one."""


class TlsListener:
    """Accepts connections and takes each through its handshake; stands for an :class:`asyncio.Server`.

    Args:
        listener: Bound and listening; it is left open.
        protocol: Makes the protocol of a connection.
        tls: The options of TLS of ``loop.connect_accepted_socket``.
    """

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tls: Mapping[str, Any]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener, self._protocol, self._tls = listener, protocol, tls
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order of their beginning
        self._resumed: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more; handshakes in progress go on."""
        self._loop.remove_reader(self._listener)
        if self._resumed is not None:
            self._resumed.cancel()

    async def wait_closed(self) -> None:
        """Return at once: nothing is left to wait for."""

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning(
                    "no connection can be accepted for %g s: %s", _PAUSE_S, error.strerror or error
                )
                self._loop.remove_reader(self._listener)
                self._resumed = self._loop.call_later(_PAUSE_S, self._resume)
                return
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if len(self._handshakes) >= MOST_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        task = self._loop.create_task(self._shake_hands(connection))
        self._handshakes[task] = None
        task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except OSError as error:  # of TLS too, and of its time limit
            logger.debug("a TLS handshake failed: %s", error)
        except asyncio.CancelledError:
            logger.debug("a TLS handshake made room for the next")
            connection.close()  # where it had not begun yet; else its transport is closed
            raise
