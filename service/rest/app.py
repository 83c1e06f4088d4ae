"""The HTTP application, put together.

It does not know the server that runs it, nor the engine that answers.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from service.doors import Doors
from service.logs import current_request_id
from service.rest.admin import admin_router
from service.rest.depth import BatchEndpoint, DepthEndpoint
from service.rest.docs import add_docs
from service.rest.edge import Edge
from service.rest.errors import error_body
from service.rest.house import house_router
from service.rest.openapi import DESCRIPTION, describe
from service.rest.playground import add_playground
from service.rest.stream import StreamEndpoint

OPEN_PATHS = ("/", "/static", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin")
"""What needs no API key; the admin calls have a key of their own, and the page asks for the caller's."""
_CODE_OF_STATUS: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


def create_app(doors: Doors, *, version: str, admin_key: str | None = None) -> FastAPI:
    """Put the HTTP door together.

    Args:
        doors: What it shares with the other doors.
        version: The service's own.
        admin_key: Opens the admin calls; there are none where None.
    """
    app = FastAPI(title="Depth", version=version, description=DESCRIPTION, docs_url=None, redoc_url=None)
    # First, because routes are tried in order and this is where the traffic is.
    app.router.routes.insert(0, Route("/v1/depth", DepthEndpoint(doors), methods=["POST"]))
    app.router.routes.insert(1, Route("/v1/depth/batch", BatchEndpoint(doors), methods=["POST"]))
    app.router.routes.insert(2, WebSocketRoute("/v1/stream", StreamEndpoint(doors)))
    app.include_router(house_router(doors))
    if admin_key is not None:
        app.include_router(admin_router(doors, admin_key))
    add_docs(app)
    add_playground(app)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_middleware(Edge, doors=doors, open_paths=OPEN_PATHS)
    describe(app)
    return app


async def _http_exception(_: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    code = _CODE_OF_STATUS.get(status, "invalid_request")
    return _error(status, code, code.replace("_", " "), headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    problems: list[dict[str, Any]] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    message = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return _error(422, "invalid_argument", message, None)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None) -> Response:
    body = error_body(code, message, current_request_id.get())
    return Response(body, status, headers, "application/json")
