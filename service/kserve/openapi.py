"""The protocol's part of the OpenAPI document.

It does not know how requests are answered; a test sends what it allows, and checks the answers against it.
"""

from typing import Any

from fastapi import FastAPI

from service.kserve.contract import DEPTH, INPUTS, PRIORITY_LEVELS
from service.kserve.parameters import OPTIONS, PRIORITY, RESERVED, TIMEOUT

Schema = dict[str, Any]

_TAG = "open inference protocol"
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_BINARY: Schema = {"type": "string", "format": "binary"}
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
    return paths


def _infer() -> Schema:
    return {
        "tags": [_TAG],
        "summary": "Depth of a batch of images",
        "description": "Exactly one of the inputs comes. `image` holds whole JPEG, PNG or WebP files: base64 "
        "in JSON, elements behind their uint32 lengths in binary. The others hold RGB pixels, colours last. "
        "With `Inference-Header-Content-Length: 0` the body is one bare photograph.",
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "schema": _COUNT,
                "description": "How many bytes of the body are JSON, where tensors follow it as bytes.",
            },
            {
                "name": "X-Request-Deadline-Ms",
                "in": "header",
                "schema": {"type": "number", "exclusiveMinimum": 0},
                "description": "How long the answer may take, counted from the request's arrival.",
            },
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
    spec = _object(
        {"name": _TEXT, "datatype": _TEXT, "shape": {"type": "array", "items": {"type": "integer"}}}
    )
    specs: Schema = {"type": "array", "items": spec}
    texts: Schema = {"type": "array", "items": _TEXT}
    return {
        "V2Error": _object({"error": _TEXT}, required=("error",)),
        "Live": _object({"live": _FLAG}, required=("live",)),
        "Ready": _object({"ready": _FLAG}, required=("ready",)),
        "ModelReady": _object({"name": _TEXT, "ready": _FLAG}, required=("name", "ready")),
        "ServerMetadata": _object(
            {"name": _TEXT, "version": _TEXT, "extensions": texts}, required=("name", "version", "extensions")
        ),
        "ModelMetadata": _object(
            {
                "name": _TEXT,
                "versions": texts,
                "platform": _TEXT,
                "inputs": specs,
                "outputs": specs,
                "properties": {"type": "object", "additionalProperties": _TEXT},
            },
            required=("name", "versions", "platform", "inputs", "outputs"),
        ),
        "ModelConfig": {"type": "object", "required": ["name", "max_batch_size", "input", "output"]},
        "Statistics": _statistics(),
        "RepositoryEntry": _object(
            dict.fromkeys(("name", "version", "state", "reason"), _TEXT), required=("name", "state")
        ),
        "InferRequest": _infer_request(),
        "InferResponse": _infer_response(),
    }


def _statistics() -> Schema:
    duration = _object({"count": _COUNT, "ns": _COUNT}, required=("count", "ns"))
    phases = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    batch_phases = dict.fromkeys(phases[3:], duration)
    one = _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "last_inference": _COUNT,
            "inference_count": _COUNT,
            "execution_count": _COUNT,
            "inference_stats": _object(dict.fromkeys(phases, duration), required=phases),
            "batch_stats": {"type": "array", "items": _object({"batch_size": _COUNT, **batch_phases})},
        },
        required=("name", "version", "inference_count", "execution_count", "inference_stats"),
    )
    return _object({"model_stats": {"type": "array", "items": one}}, required=("model_stats",))


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
            "parameters": _object({"binary_data_size": _COUNT, "content_type": _TEXT}),
            "data": {"type": "array"},
        },
        required=("name", "datatype", "shape"),
    )
    output = _object(
        {"name": {"type": "string", "enum": [DEPTH.name]}, "parameters": _object({"binary_data": _FLAG})},
        required=("name",),
    )
    return _object(
        {
            "id": _TEXT,
            "parameters": _request_parameters(),
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "items": output},
        },
        required=("inputs",),
    )


def _request_parameters() -> Schema:
    return _object(
        {
            **dict.fromkeys(OPTIONS, _NUMBER),
            "size": {"type": "string", "enum": ["input", "model"]},
            PRIORITY: {**_COUNT, "description": f"1 goes first, {PRIORITY_LEVELS} last."},
            TIMEOUT: {**_COUNT, "description": "In microseconds."},
            "binary_data_output": _FLAG,
            **{name: {} for name in RESERVED},
        }
    )


def _infer_response() -> Schema:
    output = _object(
        {
            "name": _TEXT,
            "datatype": _TEXT,
            "shape": {"type": "array", "items": _COUNT, "minItems": 3, "maxItems": 3},
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": _NUMBER},
        },
        required=("name", "datatype", "shape"),
    )
    return _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": {"type": "array", "items": output},
        },
        required=("model_name", "outputs"),
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


def _post(summary: str, body: Schema, answer: Schema | None, errors: tuple[str, ...]) -> Schema:
    done: Schema = {"description": "OK"}
    if answer is not None:
        done["content"] = {"application/json": {"schema": answer}}
    return {
        "tags": [_TAG],
        "summary": summary,
        "description": "Asks for the admin key.",
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
