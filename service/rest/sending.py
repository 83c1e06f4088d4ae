"""Whether a client takes what it is sent, at the least rate there is."""

import asyncio

from service.settings import Settings


class Sending:
    """Watches one connection's unsent bytes, from one look to the next.

    Args:
        transport: The connection.
        settings: Say how fast it has to be, and how often one looks.
    """

    def __init__(self, transport: asyncio.Transport, settings: Settings) -> None:
        self._transport = transport
        self._least_bytes = settings.least_bytes_per_s * settings.stalled_peer_s
        self._unsent = 0

    def begin(self) -> None:
        """Look for the first time."""
        self._unsent = self._transport.get_write_buffer_size()

    def goes_on(self) -> bool:
        """Look again; return whether enough has gone out since."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return before - self._unsent >= self._least_bytes
