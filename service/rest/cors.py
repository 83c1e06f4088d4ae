"""Which pages of other origins may ask this service from a browser: none, but those that the operator names.

Requests without an Origin header do not come from a page and are not checked; API keys protect from those.
"""

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.contract.wire import HEADERS
from service.rest.errors import HttpError

_TENSORS_BEGIN = "Inference-Header-Content-Length"
"""Of the protocol v2: where a body's tensors begin."""
_ASKED_WITH = (
    "Authorization",
    "Content-Type",
    "X-Api-Key",
    "X-Request-Id",
    "X-Request-Deadline-Ms",
    _TENSORS_BEGIN,
)
_TRACED_WITH = ("traceparent", "tracestate")
_PREFLIGHT_S = 3600
"""How long a browser may remember that it was allowed to ask."""


def allow_origins(app: FastAPI, origins: Collection[str]) -> None:
    """Let pages of these origins ask, and read what the answers say of themselves.

    Added last, so that it answers before a key is asked for: browsers ask for leave without one.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=[*_ASKED_WITH, *_TRACED_WITH],
        expose_headers=[
            *(header.name for header in HEADERS.values()),
            "Retry-After",
            _TENSORS_BEGIN,
        ],
        # Pages of the internet that are named here may reach a service in the network of their readers.
        allow_private_network=True,
        max_age=_PREFLIGHT_S,
    )


class ForeignOriginError(HttpError):
    """A page of another origin wants to open a stream."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


def check_origin(headers: Collection[tuple[bytes, bytes]], origins: Collection[str]) -> None:
    """Compare a WebSocket's Origin with what is allowed: browsers do not do that for us.

    Args:
        headers: Of the request that opens it.
        origins: Those that may; the service's own may always.

    Raises:
        ForeignOriginError: It is another.
    """
    said = {name: value.decode("latin-1") for name, value in headers if name in (b"origin", b"host")}
    origin = said.get(b"origin")
    if origin is None or "*" in origins or origin in origins:
        return
    if urlsplit(origin).netloc != said.get(b"host"):
        raise ForeignOriginError(
            f"pages of {origin[:80]!r} may not open a stream here; expected an origin of DEPTH_CORS_ORIGINS"
        )
