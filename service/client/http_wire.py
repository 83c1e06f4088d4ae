"""Questions and answers as HTTP and WebSockets have them: query, headers and JSON.

It does not send anything.
"""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

from service.answer import DepthAnswer
from service.client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InferenceFailed,
    InvalidArgument,
    InvalidImage,
    NotReady,
    Overloaded,
    RequestError,
    ServiceError,
    Unauthenticated,
    Unreachable,
    UnreadableAnswer,
    error_of,
)
from service.client.result import ModelDescription, Outcome
from service.request import CameraHeight, DepthRequest, FieldOfView, Format, Intrinsics, KnownDistance

Headers = Mapping[str, str]

_BY_STATUS: Mapping[int, type[ServiceError]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: Unauthenticated,
    404: UnreadableAnswer,
    408: DeadlineExceeded,
    413: ImageTooLarge,
    422: InvalidImage,
    429: Overloaded,
    500: InferenceFailed,
    502: Unreachable,
    503: NotReady,
    504: DeadlineExceeded,
}
"""For answers of proxies and others that do not know our codes."""
_TOLD_CHARACTERS = 200


def query_of(request: DepthRequest) -> dict[str, str]:
    """Return the options of a request that are not what they are without being said."""
    query = {"format": str(request.format), "size": request.size}
    if request.model is not None:
        query["model"] = request.model
    if request.version is not None:
        query["version"] = request.version
    if request.priority:
        query["priority"] = str(request.priority)
    if isinstance(request.lens, FieldOfView):
        query["fov_deg"] = repr(request.lens.horizontal_deg)
    elif isinstance(request.lens, Intrinsics):
        query |= {name: repr(value) for name, value in asdict(request.lens).items()}
    if isinstance(request.anchor, CameraHeight):
        query["camera_height_m"] = repr(request.anchor.height_m)
    elif isinstance(request.anchor, KnownDistance):
        known = request.anchor
        query |= {"known_x_px": repr(known.x_px), "known_y_px": repr(known.y_px)}
        query["known_distance_m"] = repr(known.distance_m)
    colour = {"colormap": request.colour.map, "near": request.colour.near, "far": request.colour.far}
    return query | {name: str(value) for name, value in colour.items() if value is not None}


def answer_of(headers: Headers, body: bytes) -> DepthAnswer:
    """Read an answer that has the status 200.

    Raises:
        UnreadableAnswer: It is none of a depth service.
    """
    try:
        return DepthAnswer(
            body=body,
            media_type=headers["content-type"],
            format=Format(headers["x-depth-format"]),
            height=int(headers["x-depth-height"]),
            width=int(headers["x-depth-width"]),
            dtype=headers["x-depth-dtype"],
            scale=float(headers["x-depth-scale"]),
            unit=cast(Any, headers["x-depth-unit"]),
            scale_source=cast(Any, headers["x-depth-scale-source"]),
            minimum=float(headers["x-depth-min"]),
            maximum=float(headers["x-depth-max"]),
            invalid=headers["x-depth-invalid"],
            model=headers["x-depth-model"],
            model_version=headers["x-depth-model-version"],
            request_id=headers.get("x-request-id", ""),
            timings=_timings(headers.get("server-timing", "")),
            batch_size=int(headers["x-depth-batch-size"]),
            intrinsics=_intrinsics(headers.get("x-depth-intrinsics", "none")),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"the answer's headers are not a depth service's: {error}") from error


def error_answer(status: int, headers: Headers, body: bytes) -> ServiceError:
    """Read an answer that has another status."""
    code, message, request_id = "", "", headers.get("x-request-id", "")
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
        request_id = str(told.get("request_id") or request_id)
    except (ValueError, KeyError, TypeError):
        message = f"HTTP status {status}: {body[:_TOLD_CHARACTERS].decode(errors='replace').strip()}"
    otherwise = _BY_STATUS.get(status)
    if otherwise is None:
        otherwise = RequestError if 400 <= status < 500 else ServiceError
        otherwise = UnreadableAnswer if status < 400 else otherwise
    retry_after_s = _retry_after_s(headers.get("retry-after"))
    return error_of(code, message, otherwise=otherwise, retry_after_s=retry_after_s, request_id=request_id)


def models_of(body: bytes) -> list[ModelDescription]:
    """Read the list of models.

    Raises:
        UnreadableAnswer: It is none.
    """
    names = [field.name for field in fields(ModelDescription)]
    try:
        told = json.loads(body)["models"]
        return [ModelDescription(**{name: each[name] for name in names}) for each in told]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableAnswer("the list of models is not a depth service's") from error


def failure_in(text: str) -> ServiceError | None:
    """Return what a stream itself failed for, if its message says so."""
    told = json.loads(text)
    if "error" not in told or "frame" in told:
        return None
    return _told_error(told["error"])


def outcome_of(text: str, body: bytes | None) -> Outcome:
    """Read what became of a frame of a stream.

    Args:
        text: The message that describes it.
        body: The map that followed, where there is one.

    Raises:
        UnreadableAnswer: It is none of a depth service.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        if "error" in told:
            return Outcome(index=told["frame"], error=_told_error(told["error"]))
        lens = told["intrinsics"]
        answer = DepthAnswer(
            body=body or b"",
            format=Format(told["format"]),
            intrinsics=None if lens is None else Intrinsics(**lens),
            timings={phase: ms / 1e3 for phase, ms in told["timings_ms"].items()},
            **{name: told[name] for name in _TOLD_AS_IS},
        )
        return Outcome(index=told["frame"], answer=answer, smoothing_factor=told["smoothing_factor"])
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableAnswer(f"a message is not a depth service's: {error}") from error


_TOLD_AS_IS = (
    "media_type",
    "height",
    "width",
    "dtype",
    "scale",
    "unit",
    "scale_source",
    "minimum",
    "maximum",
    "invalid",
    "model",
    "model_version",
    "request_id",
    "batch_size",
)


def has_map(text: str) -> bool:
    """Whether a stream's message is followed by a map."""
    return "error" not in json.loads(text)


def _told_error(told: Mapping[str, Any]) -> ServiceError:
    milliseconds = told.get("retry_after_ms")
    return error_of(
        str(told.get("code", "")),
        str(told.get("message", "")),
        otherwise=ServiceError,
        retry_after_s=None if milliseconds is None else milliseconds / 1e3,
    )


def _retry_after_s(text: str | None) -> float | None:
    """Read seconds or, as proxies have it, a date."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _timings(text: str) -> dict[str, float]:
    entries = (entry.strip().partition(";dur=") for entry in text.split(",") if ";dur=" in entry)
    return {phase: float(milliseconds) / 1e3 for phase, _, milliseconds in entries}


def _intrinsics(text: str) -> Intrinsics | None:
    if text == "none":
        return None
    fx, fy, cx, cy = map(float, text.split())
    return Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy)
