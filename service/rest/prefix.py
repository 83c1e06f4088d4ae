"""A prefix of all paths, under which a proxy shows this service.

Some strip the prefix, and some leave it.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class Prefix:
    """Lets an application see every path as its clients do, and which part of it is the prefix.

    Args:
        app: The application.
        prefix: Such as `/depth`.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request or a WebSocket on."""
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, "root_path": self._prefix}
            path = scope["path"]
            if path != self._prefix and not path.startswith(f"{self._prefix}/"):
                scope["path"] = self._prefix + path
                scope["raw_path"] = self._prefix.encode() + scope.get("raw_path", path.encode())
        await self._app(scope, receive, send)


def path_within(scope: Scope) -> str:
    """Return a request's path without the prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"
