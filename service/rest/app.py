"""The HTTP application, put together."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from service.contract.errors import UnknownModel
from service.rest.admin import admin_router
from service.rest.cors import allow_origins
from service.rest.depth import BatchEndpoint, DepthEndpoint, DistancesEndpoint
from service.rest.docs import add_docs
from service.rest.edge import Edge
from service.rest.errors import ErrorForms
from service.rest.openapi import DESCRIPTION, describe
from service.rest.operations import house_router
from service.rest.playground import add_playground
from service.rest.prefix import Prefix, path_within
from service.rest.stream import StreamEndpoint
from service.telemetry.logs import current_request_id
from service.transports.auth import AdminKey
from service.transports.frontend import Frontend

OPEN_PATHS = ("/", "/static", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin")
"""What needs no API key; the admin calls have a key of their own, and the page asks for the caller's."""
_CODE_OF_STATUS: Mapping[int, str] = {404: "not_found", 405: "method_not_allowed"}


_OURS_ALONE = ErrorForms({})


def create_app(
    frontend: Frontend,
    *,
    version: str,
    admin_key: str | None = None,
    open_paths: Collection[str] = (),
    forms: ErrorForms = _OURS_ALONE,
) -> FastAPI:
    """Put the HTTP transport together.

    Args:
        frontend: What it shares with the other transports.
        version: The service's own.
        admin_key: Opens the admin calls; there are none where None.
        open_paths: Further paths that need no API key.
        forms: Of errors, by path.
    """
    app = FastAPI(title="Depth", version=version, description=DESCRIPTION, docs_url=None, redoc_url=None)
    # First, because routes are tried in order and this is where the traffic is.
    app.router.routes.insert(0, Route("/v1/depth", DepthEndpoint(frontend), methods=["POST"]))
    app.router.routes.insert(1, Route("/v1/depth/batch", BatchEndpoint(frontend), methods=["POST"]))
    app.router.routes.insert(2, Route("/v1/distances", DistancesEndpoint(frontend), methods=["POST"]))
    app.router.routes.insert(3, WebSocketRoute("/v1/stream", StreamEndpoint(frontend)))
    for verb in ("predict", "explain"):
        app.add_route(f"/v1/models/{{model}}:{verb}", _protocol_v1, methods=["POST"], include_in_schema=False)
    app.include_router(house_router(frontend))
    if admin_key is not None:
        app.include_router(admin_router(frontend, AdminKey(admin_key)))
    add_docs(app)
    add_playground(app)
    app.add_exception_handler(HTTPException, _saying(_http_exception, forms))
    app.add_exception_handler(RequestValidationError, _saying(_validation_error, forms))
    app.add_middleware(Edge, frontend=frontend, open_paths=(*OPEN_PATHS, *open_paths), forms=forms)
    if frontend.settings.cors_origins:
        allow_origins(app, frontend.settings.cors_origins)
    if frontend.settings.root_path:
        app.add_middleware(Prefix, prefix=frontend.settings.root_path)
    describe(app)
    return app


async def _protocol_v1(request: Request) -> Response:
    """Point clients of the protocol v1 to v2."""
    model = request.path_params["model"][:40]
    raise UnknownModel(
        f"{request.url.path[:80]!r} is of KServe's protocol v1, which is not spoken here; expected POST "
        f"/v1/depth with a photograph as the body, or the protocol v2: POST /v2/models/{model}/infer"
    )


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
    """Return the framework's exceptions in the form that the path's errors have."""

    async def answer(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error)
        form = forms.of(path_within(request.scope))
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
