"""The protocol over HTTP: every route under ``/v2``.

Plain ASGI where images pass through.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.contract.bounds import BYTES, MILLISECONDS
from service.contract.errors import InvalidArgument, InvalidImage, NotReady, Unavailable
from service.contract.options import read_number
from service.kserve import repository
from service.kserve.contract import find, model_config, model_metadata, server_metadata
from service.kserve.infer import InferCall, infer, owner
from service.kserve.json_wire import read_call, read_raw_call, write_answer
from service.kserve.openapi import describe
from service.kserve.statistics import model_statistics
from service.rest.answers import send_answer
from service.rest.body import read_request_body, unless_gone
from service.settings import Settings
from service.transports.auth import AdminKey, bearer_key
from service.transports.frontend import Frontend
from service.transports.shared_memory import Region
from service.transports.threads import by_size

TRANSPORT = "kserve_http"
"""What this transport is called in metrics."""
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


def add_routes(app: FastAPI, frontend: Frontend, *, version: str, admin_key: AdminKey | None) -> None:
    """Serve the protocol in an application.

    Args:
        app: The application.
        frontend: What this transport shares with the others.
        version: The service's own.
        admin_key: Opens the repository; there is none where None.
    """
    served = _Models(frontend)
    server = _server(server_metadata(version, admin=admin_key is not None, shared_memory=frontend.regions.on))
    routes = [
        Route("/v2/health/live", _live(frontend)),
        Route("/v2/health/ready", _ready(frontend)),
        Route("/v2", server),
        Route("/v2/", server),
        Route("/v2/models/stats", served.all_statistics),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, served.metadata),
            Route(f"{path}/ready", served.ready),
            Route(f"{path}/config", served.config),
            Route(f"{path}/stats", served.statistics),
            Route(f"{path}/infer", InferEndpoint(frontend), methods=["POST"]),
        ]
    if admin_key is not None:
        folder = _Repository(frontend, admin_key)
        model = "/v2/repository/models/{model}"
        routes += [
            Route("/v2/repository/index", folder.index, methods=["POST"]),
            Route(f"{model}/load", folder.load, methods=["POST"]),
            Route(f"{model}/unload", folder.unload, methods=["POST"]),
        ]
    memory = _SharedMemory(frontend)
    for path in ("/v2/systemsharedmemory", "/v2/systemsharedmemory/region/{region}"):
        routes += [
            Route(f"{path}/status", memory.status),
            Route(f"{path}/unregister", memory.unregister, methods=["POST"]),
        ]
    routes.append(Route(f"{path}/register", memory.register, methods=["POST"]))
    app.router.routes.extend(routes)
    describe(app, admin=admin_key is not None)


class InferEndpoint:
    """Answers inference requests."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer; give up when the client does."""
        headers = Headers(scope=scope)
        settings = self._frontend.settings
        remaining_ms = read_number(headers.get(_DEADLINE), "X-Request-Deadline-Ms", MILLISECONDS)
        deadline_s = self._frontend.deadline_s(None if remaining_ms is None else remaining_ms / 1e3)
        with self._frontend.answer_share(TRANSPORT) as held:
            with self._frontend.body_share(TRANSPORT) as share:
                body = await read_request_body(receive, headers, share, settings)
                call = await by_size(len(body), _read, scope["path_params"], headers, body, settings)
                binary = call.binary_output(default=False)
                asked = infer(self._frontend, call, held, transport=TRANSPORT, deadline_s=deadline_s)
                try:
                    answer = await unless_gone(receive, asked)
                except InvalidImage as error:  # the protocol knows 400 alone for what is sent
                    raise InvalidArgument(error.message) from None
            pieces, json_bytes = write_answer(answer, binary=binary, most_numbers=settings.json_max_pixels)
            said = [(b"content-length", str(sum(map(len, pieces))).encode())]
            if json_bytes is None:
                said.append((b"content-type", b"application/json"))
            else:
                said.append((b"content-type", b"application/octet-stream"))
                said.append((JSON_LENGTH.encode(), str(json_bytes).encode()))
            await send_answer(send, said, *pieces)


def _read(path: Mapping[str, str], headers: Mapping[str, str], body: bytes, settings: Settings) -> InferCall:
    model, version = path["model"], path.get("version", "")
    said = read_number(headers.get(JSON_LENGTH), "Inference-Header-Content-Length", BYTES)
    if said is None:
        return read_call(model, version, body, None, settings)
    if said == 0:
        if headers.get("content-type", "").startswith("application/json"):
            raise InvalidArgument("Inference-Header-Content-Length is 0 for a body of JSON; expected one")
        return read_raw_call(model, version, body)
    return read_call(model, version, body, int(said), settings)


class _Models:
    """What may be asked about models."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def metadata(self, request: Request) -> Response:
        infos = self._frontend.engine.models()
        return _json(model_metadata(find(infos, *_asked(request)), infos))

    async def ready(self, request: Request) -> Response:
        info = find(self._frontend.engine.models(), *_asked(request))
        if info.state != "ready":
            raise NotReady(f"model {info.name!r} is {info.state}", retry_after_s=1.0)
        return _json({"name": info.name, "ready": True})

    async def config(self, request: Request) -> Response:
        info = find(self._frontend.engine.models(), *_asked(request))
        return _json(model_config(info, self._frontend.settings))

    async def statistics(self, request: Request) -> Response:
        return _json(model_statistics([find(self._frontend.engine.models(), *_asked(request))]))

    async def all_statistics(self, request: Request) -> Response:
        return _json(model_statistics(self._frontend.engine.models()))


class _Repository:
    """What the holder of the admin key may do."""

    def __init__(self, frontend: Frontend, admin_key: AdminKey) -> None:
        self._frontend = frontend
        self._admin_key = admin_key

    async def index(self, request: Request) -> Response:
        only_ready = (await self._said(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise InvalidArgument(f"'ready' is {str(only_ready)[:40]!r}; expected true or false")
        return _json(await repository.index(self._frontend, only_ready=only_ready))

    async def load(self, request: Request) -> Response:
        await repository.load(self._frontend, request.path_params["model"], await self._parameters(request))
        return Response()

    async def unload(self, request: Request) -> Response:
        await repository.unload(self._frontend, request.path_params["model"], await self._parameters(request))
        return Response()

    async def _parameters(self, request: Request) -> Mapping[str, Any]:
        parameters = (await self._said(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidArgument("'parameters': expected a JSON object")
        return parameters

    async def _said(self, request: Request) -> Mapping[str, Any]:
        """Check the key, then read the body."""
        key = bearer_key(request.headers.get("authorization"), request.headers.get("x-api-key"))
        self._admin_key.check(key)
        return await _said(self._frontend, request)


class _SharedMemory:
    """Regions of shared memory, each caller's own."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def status(self, request: Request) -> Response:
        regions = self._frontend.regions.listed(owner(), request.path_params.get("region", ""))
        return _json([asdict(region) for region in regions])

    async def register(self, request: Request) -> Response:
        said = await _said(self._frontend, request)
        key, offset, byte_size = said.get("key"), said.get("offset", 0), said.get("byte_size")
        if not isinstance(key, str) or type(offset) is not int or type(byte_size) is not int:
            raise InvalidArgument(
                "the body: expected a text 'key', and whole numbers 'offset' and 'byte_size'"
            )
        region = Region(name=request.path_params["region"], key=key, offset=offset, byte_size=byte_size)
        self._frontend.regions.register(owner(), region)
        return Response()

    async def unregister(self, request: Request) -> Response:
        await _said(self._frontend, request)
        self._frontend.regions.unregister(owner(), request.path_params.get("region", ""))
        return Response()


async def _said(frontend: Frontend, request: Request) -> Mapping[str, Any]:
    """Read a small body of JSON, which may be empty."""
    with frontend.body_share(TRANSPORT) as share:
        body = await read_request_body(
            request.receive, request.headers, share, frontend.settings, max_bytes=_MOST_ADMIN_BYTES
        )
    try:
        said = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise InvalidArgument("the body: expected a JSON object, or nothing")
    return said


def _live(frontend: Frontend) -> Ask:
    async def live(_: Request) -> Response:
        if not frontend.engine.live:
            raise Unavailable("backends have hung; this process should be replaced")
        return _json({"live": True})

    return live


def _ready(frontend: Frontend) -> Ask:
    async def ready(_: Request) -> Response:
        if not frontend.ready:
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
