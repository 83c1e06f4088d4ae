"""A server's TLS certificate, read anew when its files change; new connections get the new one."""

import logging
import ssl
from collections.abc import Callable
from typing import Generic, TypeVar

from service.settings import Settings

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Certificates(Generic[T]):
    """What is made of the files of a certificate, as they are now.

    Tools that renew a certificate write its files one after the other, so they may not fit each other for a
    moment: what cannot be read leaves in use what was read before.

    Args:
        settings: Name the files.
        make: Reads them.

    Raises:
        OSError: They cannot be read; an `ssl.SSLError` where they do not fit each other.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], T]) -> None:
        self._settings = settings
        self._make = make
        files = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._files = [file for file in files if file is not None]
        self._stamps = self._now()
        self._made = make(settings)

    def current(self) -> T:
        """Return what the files hold; they are read only where they have changed."""
        try:
            stamps = self._now()
            if stamps != self._stamps:
                self._stamps = stamps
                self._made = self._make(self._settings)
                logger.info("read the TLS certificate anew: its files have changed")
        except OSError as error:
            logger.warning(
                "the TLS certificate has changed and cannot be read, so the old one stays: %s", error
            )
        return self._made

    def _now(self) -> list[tuple[int, int, int]]:
        return [
            (found.st_mtime_ns, found.st_size, found.st_ino)
            for found in (file.stat() for file in self._files)
        ]


def server_context(settings: Settings) -> ssl.SSLContext:
    """Read the files into a context for servers.

    Raises:
        OSError: They cannot be read, or do not fit each other.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        raise ValueError("there is no certificate; expected tls_cert and tls_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
