"""The protocol's part of the OpenAPI document.

A test sends what it allows, and checks the answers against it.
"""

from typing import Any

from fastapi import FastAPI

from service.contract.options import schemas
from service.kserve.contract import DEPTH, INPUTS
from service.kserve.objects import returned_schemas
from service.kserve.parameters import InferParameters
from service.kserve.tensors import SHARED_OFFSET, SHARED_REGION, SHARED_SIZE
from service.rest.openapi import deadline_header

Schema = dict[str, Any]

_TAG = "open inference protocol"
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_BINARY: Schema = {"type": "string", "format": "binary"}
_SHARED: Schema = {
    SHARED_REGION: _TEXT,
    SHARED_SIZE: _COUNT,
    SHARED_OFFSET: _COUNT,
}
"""Where in shared memory a tensor lies, or is to be written."""
_ERRORS = {
    "400": "The request is malformed, a tensor is not what it says, or the bytes are no image.",
    "401": "An API key is required.",
    "404": "There is no such model.",
    "408": "The body came too slowly.",
    "413": "The body or an image is too large.",
    "415": "The body is packed in a way that is not read.",
    "429": "Too much is waiting, or the key is over its rate; Retry-After says when to come again.",
    "500": "The network gave no depth.",
    "503": "Not ready; Retry-After says when to come again.",
    "504": "It could not be answered in time.",
}


def describe(app: FastAPI, *, admin: bool) -> None:
    """Let an application's OpenAPI document show these routes.

    Args:
        app: The application.
        admin: Whether the repository is there.
    """
    generate = app.openapi

    def openapi() -> Schema:
        known = app.openapi_schema is not None
        document = generate()
        if not known:
            document["paths"].update(_paths())
            if admin:
                document["paths"].update(_repository_paths())
            document["components"]["schemas"].update(_schemas())
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _paths() -> Schema:
    paths: Schema = {
        "/v2": _get("What this server is", "ServerMetadata"),
        "/v2/health/live": _get("Does the process live?", "Live", errors=("503",)),
        "/v2/health/ready": _get("Should requests be sent here?", "Ready", errors=("503",)),
        "/v2/models/stats": _get("What all models have done", "Statistics"),
    }
    for path, names in (
        ("/v2/models/{model}", ("model",)),
        ("/v2/models/{model}/versions/{version}", ("model", "version")),
    ):
        asked: Schema = {"parameters": [_in_path(name) for name in names]}
        known = ("401", "404")
        paths[path] = asked | _get("Which tensors a model takes and gives", "ModelMetadata", known)
        paths[f"{path}/ready"] = asked | _get("Does a model answer?", "ModelReady", (*known, "503"))
        paths[f"{path}/config"] = asked | _get("How a model is served", "ModelConfig", known)
        paths[f"{path}/stats"] = asked | _get("What a model has done", "Statistics", known)
        paths[f"{path}/infer"] = asked | {"post": _infer()}
    return paths | _shared_memory_paths()


def _shared_memory_paths() -> Schema:
    own = "Where DEPTH_SHARED_MEMORY_PREFIX allows it; each API key has regions of its own."
    region = _object({"key": _TEXT, "offset": _COUNT, "byte_size": _COUNT}, required=("key", "byte_size"))
    paths: Schema = {}
    for path, names in (("", ()), ("/region/{region}", ("region",))):
        asked: Schema = {"parameters": [_in_path(name) for name in names]}
        status = _get("Which regions of shared memory are registered", "Regions", ("400", "401"))
        forget = _post("Forget regions of shared memory", _object({}), None, ("401",), own)
        paths[f"/v2/systemsharedmemory{path}/status"] = asked | status
        paths[f"/v2/systemsharedmemory{path}/unregister"] = asked | {"post": forget}
    register = _post("Register a region of shared memory", region, None, ("401",), own)
    paths["/v2/systemsharedmemory/region/{region}/register"] = asked | {"post": register}
    return paths


def _infer() -> Schema:
    return {
        "tags": [_TAG],
        "summary": "Depth of a batch of images",
        "description": "Exactly one of the inputs comes. `image` holds whole JPEG, PNG, WebP or AVIF files: "
        "base64 in JSON, elements behind their uint32 lengths in binary. The others hold RGB pixels, "
        "colours last. With `Inference-Header-Content-Length: 0` the body is one bare photograph.",
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "schema": _COUNT,
                "description": "How many bytes of the body are JSON, where tensors follow it as bytes.",
            },
            deadline_header(),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("InferRequest")},
                "application/octet-stream": {"schema": _BINARY},
            },
        },
        "responses": {
            "200": {
                "description": "JSON; or JSON and the depth behind it, as little-endian float32.",
                "headers": {
                    "Inference-Header-Content-Length": {
                        "description": "How many bytes are JSON, where depth follows as bytes.",
                        "schema": _TEXT,
                    }
                },
                "content": {
                    "application/json": {"schema": _ref("InferResponse")},
                    "application/octet-stream": {"schema": _BINARY},
                },
            },
            **_errors(tuple(_ERRORS)),
        },
    }


def _repository_paths() -> Schema:
    parameters = _object({"parameters": {"type": "object"}})
    index = _object({"ready": _FLAG})
    listed: Schema = {"type": "array", "items": _ref("RepositoryEntry")}
    model: Schema = {"parameters": [_in_path("model")]}
    return {
        "/v2/repository/index": {"post": _post("Which models lie in the folder", index, listed, ("401",))},
        "/v2/repository/models/{model}/load": model
        | {"post": _post("Load a model from its files", parameters, None, ("401", "404", "503"))},
        "/v2/repository/models/{model}/unload": model
        | {"post": _post("Let a model go", parameters, None, ("401", "404"))},
    }


def _schemas() -> Schema:
    region = {"name": _TEXT, "key": _TEXT, "offset": _COUNT, "byte_size": _COUNT}
    return {
        **returned_schemas(),
        "Regions": {"type": "array", "items": _object(region)},
        "ModelConfig": {"type": "object", "required": ["name", "max_batch_size", "input", "output"]},
        "InferRequest": _infer_request(),
    }


def _infer_request() -> Schema:
    tensor = _object(
        {
            "name": {"type": "string", "enum": [spec.name for spec in INPUTS]},
            "datatype": {"type": "string", "enum": [spec.datatype for spec in INPUTS]},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1},
                "minItems": 1,
                "maxItems": 4,
            },
            "parameters": _object({"binary_data_size": _COUNT, "content_type": _TEXT, **_SHARED}),
            "data": {"type": "array"},
        },
        required=("name", "datatype", "shape"),
    )
    output = _object(
        {
            "name": {"type": "string", "enum": [DEPTH.name]},
            "parameters": _object({"binary_data": _FLAG, **_SHARED}),
        },
        required=("name",),
    )
    return _object(
        {
            "id": _TEXT,
            "parameters": _object({**schemas(InferParameters), "binary_data_output": _FLAG}),
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "items": output},
        },
        required=("inputs",),
    )


def _get(summary: str, answer: str, errors: tuple[str, ...] = ("401",)) -> Schema:
    return {
        "get": {
            "tags": [_TAG],
            "summary": summary,
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": _ref(answer)}}},
                **_errors(errors),
            },
        }
    }


def _post(
    summary: str,
    body: Schema,
    answer: Schema | None,
    errors: tuple[str, ...],
    description: str = "Asks for the admin key.",
) -> Schema:
    done: Schema = {"description": "OK"}
    if answer is not None:
        done["content"] = {"application/json": {"schema": answer}}
    return {
        "tags": [_TAG],
        "summary": summary,
        "description": description,
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "responses": {"200": done, **_errors(("400", "413", "415", *errors))},
    }


def _errors(statuses: tuple[str, ...]) -> Schema:
    content = {"application/json": {"schema": _ref("V2Error")}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
