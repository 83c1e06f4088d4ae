"""The OpenAPI document: what FastAPI sees for itself, and what it cannot see of the plain ASGI routes.

A test holds it to the options and headers that really exist.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from service.contract.bounds import MILLISECONDS
from service.contract.formats import Format
from service.contract.options import DepthOptions, DistanceOptions, schemas
from service.contract.regions import KINDS
from service.contract.wire import HEADERS
from service.rest.upload import SPARSE, SPARSE_STEPS

Schema = dict[str, Any]

DESCRIPTION = """
Photographs in, depth maps out. Paste and run, with any photograph:

```sh
curl -T photo.jpg -X POST http://localhost:8000/v1/depth -o depth.png -D -
curl -T photo.jpg -X POST 'http://localhost:8000/v1/depth?format=color' -o preview.png
curl -F image=@photo.jpg -F format=npy http://localhost:8000/v1/depth -o depth.npy
curl -F image=@photo.jpg -F image=@photo.jpg http://localhost:8000/v1/depth/batch -o answers.multipart -D -
curl http://localhost:8000/v1/models
```

Where the server asks for an API key, add `-H 'Authorization: Bearer KEY'`.

**Reading a map.** Stored value x `X-Depth-Scale` = depth, in `X-Depth-Unit`; the value `X-Depth-Invalid`
means that there is no depth. A unit of `relative` is right up to one unknown factor, never metres; give a
`camera_height_m` or a known distance to have metres.

**Errors** are JSON, `{"error": {"code", "message", "request_id"}}`; 429 and 503 say in `Retry-After` when to
come again.

**Live video** goes over a WebSocket at `/v1/stream`, with the same query as one image and
`mode=every|latest`, `steadiness=0..1`, `max_in_flight`, `frame_timeout_ms`. Each binary message is a
frame; each answer is a JSON text message (`frame`, and `scale`, `unit`, ... or `error`) followed, where there
is no error, by the map as a binary message. The text message `end` asks for what is still due, and the end.
Browsers send an API key as a subprotocol: `new WebSocket(url, ["depth.v1", "key." + KEY])`.
"""

_ERRORS = {
    "400": "The request is malformed, or an option is wrong.",
    "401": "An API key is required.",
    "404": "There is no such model.",
    "406": "Accept allows no format that is written here.",
    "408": "The body came too slowly.",
    "413": "The body or the image is too large.",
    "415": "The body is, by its type, no image.",
    "422": "The bytes are no image that is read here.",
    "429": "Too much is waiting, or the key is over its rate; Retry-After says when to come again.",
    "500": "The network gave no depth.",
    "503": "Not ready; Retry-After says when to come again.",
    "504": "It could not be answered in time.",
}
_BINARY: Schema = {"type": "string", "format": "binary"}


def describe(app: FastAPI) -> None:
    """Let an application's OpenAPI document show the plain ASGI routes too."""
    generate = app.openapi

    def openapi() -> Schema:
        known = app.openapi_schema is not None
        document = generate()
        if not known:
            document["paths"] = {**_paths(), **document["paths"]}
            components = document.setdefault("components", {})
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            components.setdefault("schemas", {})["Error"] = _error_schema()
            # Either a key or none: the server, not the document, knows whether it asks for one.
            document["security"] = [{}, {"key": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _paths() -> Schema:
    form = _form(DepthOptions)
    lists = {name: {"type": "array", "items": _BINARY} for name in ("image", SPARSE)}
    many = {**form, "properties": {**form["properties"], **lists}}
    in_json: Schema = {
        **form,
        "properties": {
            "image": {"type": "string", "contentEncoding": "base64", "description": "Or a `data:` address."},
            **schemas(DepthOptions),
        },
    }
    media_types = dict.fromkeys(format_.spec.media_type for format_ in Format)
    one: Schema = {
        "tags": ["depth"],
        "summary": "Depth of one image",
        "parameters": [*_query(), deadline_header()],
        "requestBody": {
            "required": True,
            "content": {
                "image/jpeg": {"schema": _BINARY},
                "image/png": {"schema": _BINARY},
                "image/webp": {"schema": _BINARY},
                "application/octet-stream": {"schema": _BINARY},
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": in_json},
            },
        },
        "responses": {
            "200": {
                "description": "The depth map.",
                "headers": {
                    header.name: {"description": header.text, "schema": {"type": "string"}}
                    for header in HEADERS.values()
                },
                "content": {media_type: {"schema": _BINARY} for media_type in media_types},
            },
            **_errors(),
        },
    }
    batch: Schema = {
        "tags": ["depth"],
        "summary": "Depth of several images in one call",
        "description": "Each image is answered by a part of its own, in the form's order. `X-Depth-Status`"
        " says whether the part is a map, with the headers of a single answer, or an error.",
        "parameters": [*_query(), deadline_header()],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": many}}},
        "responses": {
            "200": {"description": "A part an image.", "content": {"multipart/mixed": {"schema": _BINARY}}},
            **_errors("406"),
        },
    }
    return {
        "/v1/depth": {"post": one},
        "/v1/depth/batch": {"post": batch},
        "/v1/distances": {"post": _distances()},
    }


def _distances() -> Schema:
    number: Schema = {"type": "number"}
    distance: Schema = {
        "type": "object",
        "required": ["share"],
        "properties": {
            "median": number,
            "p10": {**number, "description": "The 10th percentile."},
            "p90": {**number, "description": "The 90th percentile."},
            "nearest": {**number, "description": "The smallest depth."},
            "xyz": {
                "type": "array",
                "items": number,
                "description": "The middle in space: right, down and forward of the camera. Needs a lens.",
            },
            "share": {**number, "description": "Of its pixels that have depth."},
        },
    }
    body: Schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string"},
            "scale_source": {"type": "string"},
            **{kind: {"type": "array", "items": distance} for kind in KINDS},
        },
    }
    return {
        "tags": ["depth"],
        "summary": "Distances to points, boxes and polygons",
        "description": "Along the optical axis, a few numbers for each region in place of a map. The headers "
        "say what the metres rest on, as those of `/v1/depth` do.",
        "parameters": [*_query(DistanceOptions), deadline_header()],
        "requestBody": {
            "required": True,
            "content": {
                "image/jpeg": {"schema": _BINARY},
                "multipart/form-data": {"schema": _form(DistanceOptions)},
            },
        },
        "responses": {
            "200": {
                "description": "A distance for each region, in the order of the request.",
                "content": {"application/json": {"schema": body}},
            },
            **_errors("406"),
        },
    }


def _form(kind: type[BaseModel]) -> Schema:
    sparse = {
        SPARSE: {**_BINARY, "description": "16-bit PNG of known depths, 0 where nothing is known."},
        SPARSE_STEPS: {"type": "number", "default": 256, "description": f"In `{SPARSE}`."},
    }
    return {
        "type": "object",
        "required": ["image"],
        "properties": {"image": _BINARY, **schemas(kind), **sparse},
    }


def _query(kind: type[BaseModel] = DepthOptions) -> list[Schema]:
    parameters = []
    for name, schema in schemas(kind).items():
        text = schema["description"]
        bare = {key: value for key, value in schema.items() if key != "description"}
        parameters.append({"name": name, "in": "query", "schema": bare, "description": text})
    return parameters


def deadline_header() -> Schema:
    """Return the parameter by which a request says until when it is worth answering."""
    return {
        "name": "X-Request-Deadline-Ms",
        "in": "header",
        "schema": {"type": "number", "minimum": MILLISECONDS.least, "maximum": MILLISECONDS.most},
        "description": "How long the answer may take, counted from the request's arrival.",
    }


def _errors(*without: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        status: {"description": text, "content": content}
        for status, text in _ERRORS.items()
        if status not in without
    }


def _error_schema() -> Schema:
    texts = {name: {"type": "string"} for name in ("code", "message", "request_id")}
    return {"type": "object", "properties": {"error": {"type": "object", "properties": texts}}}
