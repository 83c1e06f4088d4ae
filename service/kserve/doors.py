"""Both doors with the protocol in them: the HTTP application and the gRPC server, put together.

It does not know what either answers.
"""

from fastapi import FastAPI

from service.auth import AdminKey
from service.doors import Doors
from service.kserve import http, servicer
from service.rest.app import create_app
from service.rest.errors import ErrorForms
from service.rpc.server import RpcServer


def make_http(doors: Doors, *, version: str, admin_key: str | None = None) -> FastAPI:
    """Put the HTTP door together.

    Args:
        doors: What it shares with the other doors.
        version: The service's own.
        admin_key: Opens the admin calls; there are none where None.
    """
    app = create_app(
        doors,
        version=version,
        admin_key=admin_key,
        open_paths=http.OPEN_PATHS,
        forms=ErrorForms({http.PREFIX: http.error_form}),
    )
    http.add_routes(app, doors, version=version, admin_key=_held(admin_key))
    return app


def make_rpc(doors: Doors, *, version: str, admin_key: str | None = None) -> RpcServer:
    """Put the gRPC door together, from the same."""
    calls = servicer.InferenceCalls(doors, version=version, admin_key=_held(admin_key))
    return RpcServer(doors, calls.add_to, servicer.OPEN_METHODS)


def _held(admin_key: str | None) -> AdminKey | None:
    return None if admin_key is None else AdminKey(admin_key)
