"""Both transports with the protocol in them: the HTTP application and the gRPC server, put together."""

from fastapi import FastAPI

from service.kserve import http, servicer
from service.rest.app import create_app
from service.rest.errors import ErrorForms
from service.rpc.server import RpcServer
from service.transports.auth import AdminKey
from service.transports.frontend import Frontend


def make_http(frontend: Frontend, *, version: str, admin_key: str | None = None) -> FastAPI:
    """Put the HTTP transport together.

    Args:
        frontend: What it shares with the other transports.
        version: The service's own.
        admin_key: Opens the admin calls; there are none where None.
    """
    app = create_app(
        frontend,
        version=version,
        admin_key=admin_key,
        open_paths=http.OPEN_PATHS,
        forms=ErrorForms({http.PREFIX: http.error_form}),
    )
    http.add_routes(app, frontend, version=version, admin_key=_held(admin_key))
    return app


def make_rpc(frontend: Frontend, *, version: str, admin_key: str | None = None) -> RpcServer:
    """Put the gRPC transport together, from the same."""
    calls = servicer.InferenceCalls(frontend, version=version, admin_key=_held(admin_key))
    return RpcServer(
        frontend, calls.add_to, servicer.OPEN_METHODS, {f"/{servicer.SERVICE}/": servicer.TRANSPORT}
    )


def _held(admin_key: str | None) -> AdminKey | None:
    return None if admin_key is None else AdminKey(admin_key)
