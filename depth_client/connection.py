"""Where a service is, and how one gets in: address and certificates."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from depth_client.errors import InvalidArgument

Scheme = Literal["http", "https", "grpc", "grpcs"]
_SCHEMES: tuple[Scheme, ...] = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificates, where the system's own authorities do not do."""

    ca: Path | None = None
    """A PEM file of the authorities that may have signed the server's certificate."""
    cert: Path | None = None
    """The client's own, for servers that ask for one; with its key."""
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("a client's certificate and its key are given together or not at all")

    def context(self) -> ssl.SSLContext:
        """Return what HTTP needs of it."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One service, as all its callers reach it."""

    scheme: Scheme
    host: str
    """With the port, as in the address."""
    path: str = ""
    """Below which the HTTP transport lies, where a proxy put it there."""
    tls: Tls = Tls()
    connect_timeout_s: float = 5.0

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("https", "grpcs")

    @property
    def is_grpc(self) -> bool:
        """Which transport it is."""
        return self.scheme in ("grpc", "grpcs")


def connection_to(address: str, *, tls: Tls | None = None, connect_timeout_s: float = 5.0) -> Connection:
    """Read an address.

    Raises:
        InvalidArgument: It is none of a depth service.
    """
    parts = urlsplit(address)
    scheme = next((each for each in _SCHEMES if each == parts.scheme), None)
    if scheme is None or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidArgument(
            f"the address is {address!r}; expected such as http://localhost:8000 or grpc://localhost:8001"
        )
    if scheme in ("grpc", "grpcs") and (parts.path.strip("/") or parts.port is None):
        raise InvalidArgument(f"the address is {address!r}; expected {scheme}://HOST:PORT")
    if tls is not None and scheme in ("http", "grpc"):
        raise InvalidArgument(f"certificates were given for {address!r}; expected https or grpcs")
    return Connection(
        scheme=scheme,
        host=parts.netloc,
        path=parts.path.rstrip("/"),
        tls=tls or Tls(),
        connect_timeout_s=connect_timeout_s,
    )
