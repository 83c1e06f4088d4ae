"""The protocol over HTTP: every route under ``/v2``.

It does not know models or codecs. Plain ASGI where images pass through.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.auth import AdminKey, bearer_key
from service.doors import Doors
from service.errors import InvalidArgument, InvalidImage, NotReady, Unavailable
from service.kserve import repository
from service.kserve.body import read_request_body
from service.kserve.contract import find, model_config, model_metadata, server_metadata
from service.kserve.infer import InferCall, infer
from service.kserve.json_wire import read_call, read_raw_call, write_answer
from service.kserve.openapi import describe
from service.kserve.statistics import model_statistics
from service.rest.answers import send_answer
from service.rest.body import unless_gone
from service.rest.options import read_number, read_whole

DOOR = "kserve_http"
"""What this door is called in metrics."""
PREFIX = "/v2"
OPEN_PATHS = ("/v2/health", "/v2/repository")
"""What needs no API key: probes, and the admin calls, which have a key of their own."""
JSON_LENGTH = "inference-header-content-length"
_DEADLINE = "x-request-deadline-ms"
_MOST_ADMIN_BYTES = 65_536
Ask = Callable[[Request], Awaitable[Response]]


def error_form(code: str, message: str, request_id: str | None) -> bytes:
    """Write an error as the protocol's clients read it."""
    return orjson.dumps({"error": message})


def add_routes(app: FastAPI, doors: Doors, *, version: str, admin_key: AdminKey | None) -> None:
    """Answer the protocol in an application.

    Args:
        app: The application.
        doors: What this door shares with the others.
        version: The service's own.
        admin_key: Opens the repository; there is none where None.
    """
    served = _Models(doors)
    routes = [
        Route("/v2/health/live", _live(doors)),
        Route("/v2/health/ready", _ready(doors)),
        Route("/v2", _server(server_metadata(version, admin=admin_key is not None))),
        Route("/v2/models/stats", served.all_statistics),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, served.metadata),
            Route(f"{path}/ready", served.ready),
            Route(f"{path}/config", served.config),
            Route(f"{path}/stats", served.statistics),
            Route(f"{path}/infer", InferEndpoint(doors), methods=["POST"]),
        ]
    if admin_key is not None:
        folder = _Repository(doors, admin_key)
        model = "/v2/repository/models/{model}"
        routes += [
            Route("/v2/repository/index", folder.index, methods=["POST"]),
            Route(f"{model}/load", folder.load, methods=["POST"]),
            Route(f"{model}/unload", folder.unload, methods=["POST"]),
        ]
    app.router.routes.extend(routes)
    describe(app, admin=admin_key is not None)


class InferEndpoint:
    """Answers inference requests."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer; give up when the client does."""
        headers = Headers(scope=scope)
        settings = self._doors.settings
        remaining_ms = read_number(headers.get(_DEADLINE), "X-Request-Deadline-Ms")
        deadline_s = self._doors.deadline_s(None if remaining_ms is None else remaining_ms / 1e3)
        with self._doors.answers.share(DOOR) as held:
            with self._doors.budget.share(DOOR) as share:
                body = await read_request_body(
                    receive, headers, share, settings, max_bytes=settings.max_body_bytes
                )
                call = _read(scope["path_params"], headers, body)
                binary = call.binary_output(default=False)
                asked = infer(self._doors, call, held, door=DOOR, deadline_s=deadline_s)
                try:
                    answer = await unless_gone(receive, asked)
                except InvalidImage as error:  # the protocol knows 400 alone for what is sent
                    raise InvalidArgument(error.message) from None
            written, json_bytes = write_answer(answer, binary=binary, most_numbers=settings.json_max_pixels)
            said = [(b"content-length", str(len(written)).encode())]
            if json_bytes is None:
                said.append((b"content-type", b"application/json"))
            else:
                said.append((b"content-type", b"application/octet-stream"))
                said.append((JSON_LENGTH.encode(), str(json_bytes).encode()))
            await send_answer(send, said, written)


def _read(path: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> InferCall:
    model, version = path["model"], path.get("version", "")
    json_bytes = read_whole(headers.get(JSON_LENGTH), "Inference-Header-Content-Length")
    if json_bytes is not None and json_bytes < 0:
        raise InvalidArgument(f"Inference-Header-Content-Length is {json_bytes}; expected at least 0")
    if json_bytes == 0:
        if headers.get("content-type", "").startswith("application/json"):
            raise InvalidArgument("Inference-Header-Content-Length is 0 for a body of JSON; expected one")
        return read_raw_call(model, version, body)
    return read_call(model, version, body, json_bytes)


class _Models:
    """What may be asked about models."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def metadata(self, request: Request) -> Response:
        infos = self._doors.engine.models()
        return _json(model_metadata(find(infos, *_asked(request)), infos))

    async def ready(self, request: Request) -> Response:
        info = find(self._doors.engine.models(), *_asked(request))
        if info.state != "ready":
            raise NotReady(f"model {info.name!r} is {info.state}", retry_after_s=1.0)
        return _json({"name": info.name, "ready": True})

    async def config(self, request: Request) -> Response:
        info = find(self._doors.engine.models(), *_asked(request))
        return _json(model_config(info, self._doors.settings))

    async def statistics(self, request: Request) -> Response:
        return _json(model_statistics([find(self._doors.engine.models(), *_asked(request))]))

    async def all_statistics(self, request: Request) -> Response:
        return _json(model_statistics(self._doors.engine.models()))


class _Repository:
    """What the holder of the admin key may do."""

    def __init__(self, doors: Doors, admin_key: AdminKey) -> None:
        self._doors = doors
        self._admin_key = admin_key

    async def index(self, request: Request) -> Response:
        only_ready = (await self._said(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise InvalidArgument(f"'ready' is {str(only_ready)[:40]!r}; expected true or false")
        return _json(await repository.index(self._doors, only_ready=only_ready))

    async def load(self, request: Request) -> Response:
        await repository.load(self._doors, request.path_params["model"], await self._parameters(request))
        return Response()

    async def unload(self, request: Request) -> Response:
        await repository.unload(self._doors, request.path_params["model"], await self._parameters(request))
        return Response()

    async def _parameters(self, request: Request) -> Mapping[str, Any]:
        parameters = (await self._said(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidArgument("'parameters': expected a JSON object")
        return parameters

    async def _said(self, request: Request) -> Mapping[str, Any]:
        """Check the key, then read the body, which may be empty."""
        key = bearer_key(request.headers.get("authorization"), request.headers.get("x-api-key"))
        self._admin_key.check(key)
        with self._doors.budget.share(DOOR) as share:
            body = await read_request_body(
                request.receive, request.headers, share, self._doors.settings, max_bytes=_MOST_ADMIN_BYTES
            )
        try:
            said = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise InvalidArgument("the body: expected a JSON object, or nothing")
        return said


def _live(doors: Doors) -> Ask:
    async def live(_: Request) -> Response:
        if not doors.engine.live:
            raise Unavailable("backends have hung; this process should be replaced")
        return _json({"live": True})

    return live


def _ready(doors: Doors) -> Ask:
    async def ready(_: Request) -> Response:
        if not doors.ready:
            raise NotReady("not ready", retry_after_s=1.0)
        return _json({"ready": True})

    return ready


def _server(metadata: Mapping[str, Any]) -> Ask:
    async def server(_: Request) -> Response:
        return _json(metadata)

    return server


def _asked(request: Request) -> tuple[str, str]:
    return request.path_params["model"], request.path_params.get("version", "")


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
