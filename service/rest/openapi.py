"""The OpenAPI document: what FastAPI sees for itself, and what it cannot see of the plain ASGI routes.

It does not know how requests are answered; a test holds it to the options and headers that really exist.
"""

from typing import Any

from fastapi import FastAPI

from service.request import Format

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
`mode=every|latest`, `scale_smoothing=0..1`, `max_in_flight`, `frame_timeout_ms`. Each binary message is a
frame; each answer is a JSON text message (`frame`, and `scale`, `unit`, ... or `error`) followed, where there
is no error, by the map as a binary message. The text message `end` asks for what is still due, and the end.
Browsers send an API key as a subprotocol: `new WebSocket(url, ["depth.v1", "key." + KEY])`.
"""

_NUMBER: Schema = {"type": "number"}
_OPTIONS: dict[str, tuple[Schema, str]] = {
    "format": (
        {"type": "string", "enum": list(Format)},
        "How the map is written; where not given, by `Accept`, and in a batch as `png16`.",
    ),
    "size": ({"type": "string", "enum": ["input", "model"]}, "The image's size, or the network's own."),
    "model": ({"type": "string"}, "Name of the model; the default one where not given."),
    "version": ({"type": "string"}, "Its version; the current one where not given."),
    "priority": ({"type": "integer"}, "Higher goes first among those that wait."),
    "fov_deg": (_NUMBER, "The lens: horizontal field of view. For `ply` and camera heights."),
    "fx_px": (_NUMBER, "Or its intrinsics, in pixels of the upright image."),
    "fy_px": (_NUMBER, ""),
    "cx_px": (_NUMBER, "The centre of the first pixel is at 0.5."),
    "cy_px": (_NUMBER, ""),
    "camera_height_m": (_NUMBER, "Metres above flat ground that is seen: makes relative depth metric."),
    "known_x_px": (_NUMBER, "Or a pixel of the upright image whose depth is known."),
    "known_y_px": (_NUMBER, ""),
    "known_distance_m": (_NUMBER, "Its depth, along the optical axis."),
    "colormap": ({"type": "string"}, "For `color`: turbo, viridis, magma, inferno, plasma, cividis, gray."),
    "near": (_NUMBER, "For `color`: depth at the near end of the map; the image's own where not given."),
    "far": (_NUMBER, "For `color`: likewise at the far end."),
}
ANSWER_HEADERS: dict[str, str] = {
    "X-Depth-Scale": "Stored value x scale = depth.",
    "X-Depth-Unit": "metre or relative.",
    "X-Depth-Scale-Source": "What the unit rests on: checkpoint, camera-height, known-distance, none.",
    "X-Depth-Min": "Smallest valid depth.",
    "X-Depth-Max": "Largest valid depth.",
    "X-Depth-Invalid": "The stored value that means no depth; none where every pixel has one.",
    "X-Depth-Format": "Of the body.",
    "X-Depth-Width": "Of the map, in pixels.",
    "X-Depth-Height": "Of the map, in pixels.",
    "X-Depth-Dtype": "Of the stored values, as NumPy names them.",
    "X-Depth-Intrinsics": "fx fy cx cy of the map's own pixels, as the options have them; or none.",
    "X-Depth-Model": "Which model answered.",
    "X-Depth-Model-Version": "Which version of it.",
    "X-Depth-Batch-Size": "How many images the network saw together.",
    "X-Request-Id": "The request's own, or one made up for it; the log has it too.",
    "Server-Timing": "Milliseconds of decode, queue, predict, encode and in total.",
}
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
    form: Schema = {
        "type": "object",
        "required": ["image"],
        "properties": {
            "image": _BINARY,
            **{name: {**schema, "description": text} for name, (schema, text) in _OPTIONS.items()},
        },
    }
    many = {**form, "properties": {**form["properties"], "image": {"type": "array", "items": _BINARY}}}
    media_types = ("image/png", "image/jxl", "application/json", "application/octet-stream")
    one: Schema = {
        "tags": ["depth"],
        "summary": "Depth of one image",
        "parameters": [*_query(), _deadline()],
        "requestBody": {
            "required": True,
            "content": {
                "image/jpeg": {"schema": _BINARY},
                "image/png": {"schema": _BINARY},
                "image/webp": {"schema": _BINARY},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "The depth map.",
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}}
                    for name, text in ANSWER_HEADERS.items()
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
        "parameters": [*_query(), _deadline()],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": many}}},
        "responses": {
            "200": {"description": "A part an image.", "content": {"multipart/mixed": {"schema": _BINARY}}},
            **_errors("406"),
        },
    }
    return {"/v1/depth": {"post": one}, "/v1/depth/batch": {"post": batch}}


def _query() -> list[Schema]:
    return [
        {"name": name, "in": "query", "schema": schema, "description": text}
        for name, (schema, text) in _OPTIONS.items()
    ]


def _deadline() -> Schema:
    return {
        "name": "X-Request-Deadline-Ms",
        "in": "header",
        "schema": _NUMBER,
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
