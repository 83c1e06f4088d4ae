"""Which pages of other origins browsers let ask this service: none, but those that the operator names.

It does not guard anything. Who is no browser asks as he likes; keys are what keeps him out.
"""

from collections.abc import Collection

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.rest.openapi import ANSWER_HEADERS

_ASKED_WITH = ("Authorization", "Content-Type", "X-Api-Key", "X-Request-Id", "X-Request-Deadline-Ms")
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
        allow_methods=["GET", "POST"],
        allow_headers=[*_ASKED_WITH, *_TRACED_WITH],
        expose_headers=[*ANSWER_HEADERS, "Retry-After"],
        max_age=_PREFLIGHT_S,
    )
