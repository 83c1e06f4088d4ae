"""The HTTP application, put together.

It does not know the server that runs it, nor the engine that answers.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from service.auth import AdminKey
from service.doors import Doors
from service.logs import current_request_id
from service.rest.admin import admin_router
from service.rest.cors import allow_origins
from service.rest.depth import BatchEndpoint, DepthEndpoint
from service.rest.docs import add_docs
from service.rest.edge import Edge
from service.rest.errors import ErrorForms
from service.rest.house import house_router
from service.rest.openapi import DESCRIPTION, describe
from service.rest.playground import add_playground
from service.rest.stream import StreamEndpoint

OPEN_PATHS = ("/", "/static", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin")
"""What needs no API key; the admin calls have a key of their own, and the page asks for the caller's."""
_CODE_OF_STATUS: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


_OURS_ALONE = ErrorForms({})


def create_app(
    doors: Doors,
    *,
    version: str,
    admin_key: str | None = None,
    open_paths: Collection[str] = (),
    forms: ErrorForms = _OURS_ALONE,
) -> FastAPI:
    """Put the HTTP door together.

    Args:
        doors: What it shares with the other doors.
        version: The service's own.
        admin_key: Opens the admin calls; there are none where None.
        open_paths: Further paths that need no API key.
        forms: Of errors, by path.
    """
    app = FastAPI(title="Depth", version=version, description=DESCRIPTION, docs_url=None, redoc_url=None)
    # First, because routes are tried in order and this is where the traffic is.
    app.router.routes.insert(0, Route("/v1/depth", DepthEndpoint(doors), methods=["POST"]))
    app.router.routes.insert(1, Route("/v1/depth/batch", BatchEndpoint(doors), methods=["POST"]))
    app.router.routes.insert(2, WebSocketRoute("/v1/stream", StreamEndpoint(doors)))
    app.include_router(house_router(doors))
    if admin_key is not None:
        app.include_router(admin_router(doors, AdminKey(admin_key)))
    add_docs(app)
    add_playground(app)
    app.add_exception_handler(HTTPException, _saying(_http_exception, forms))
    app.add_exception_handler(RequestValidationError, _saying(_validation_error, forms))
    app.add_middleware(Edge, doors=doors, open_paths=(*OPEN_PATHS, *open_paths), forms=forms)
    if doors.settings.cors_origins:
        allow_origins(app, doors.settings.cors_origins)
    describe(app)
    return app


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """What the framework refuses a request with."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] | None = None


def _saying(
    refusal_of: Callable[[Exception], _Refusal], forms: ErrorForms
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer the framework's exceptions in the form that the path's errors have."""

    async def answer(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error)
        form = forms.of(request.url.path)
        body = form(refusal.code, refusal.message, current_request_id.get())
        return Response(body, refusal.status, refusal.headers, "application/json")

    return answer


def _http_exception(error: Exception) -> _Refusal:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    code = _CODE_OF_STATUS.get(status, "invalid_request")
    return _Refusal(status=status, code=code, message=code.replace("_", " "), headers=headers)


def _validation_error(error: Exception) -> _Refusal:
    problems: list[dict[str, Any]] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    message = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return _Refusal(status=422, code="invalid_argument", message=message)
