"""Questions and answers as HTTP and WebSockets have them: query, headers and JSON.

It does not send anything.
"""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from depth_client.contract import (
    DepthAnswer,
    DepthRequest,
    Regions,
    SparseDepth,
    distances_of,
    read_headers,
    read_json,
)
from depth_client.errors import (
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
from depth_client.outgoing import Outgoing
from depth_client.result import ModelDescription, Outcome

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


_JSON = "application/json"
_NO_MAP = {
    "x-depth-format": "float32",
    "x-depth-dtype": "<f4",
    "x-depth-scale": "1.0",
    "x-depth-invalid": "none",
}
"""What responses without a map leave out."""


def query_of(request: DepthRequest) -> dict[str, str]:
    """Return the options of a request that are not what they are without being said."""
    of_maps = () if request.map else ("format",)
    return {name: str(value) for name, value in request.options().items() if name not in of_maps}


def form_of(request: DepthRequest) -> dict[str, str] | None:
    """Return what goes beside a picture in a form; None where its bytes alone are sent."""
    regions, anchor = request.regions, request.anchor
    if regions is None and not isinstance(anchor, SparseDepth):
        return None
    form = {} if regions is None else {kind: json.dumps(given) for kind, given in _lists(regions).items()}
    if isinstance(anchor, SparseDepth):
        form["sparse_depth_steps_per_metre"] = repr(float(anchor.steps_per_metre))
    return form


def said_of(frame: Outgoing) -> str | None:
    """Return the message that goes before a frame; None where there is nothing to say of it."""
    said = {} if frame.regions is None else _lists(frame.regions)
    if frame.pose is not None:
        said["pose"] = frame.pose.numbers
    return json.dumps(said) if said else None


def _lists(regions: Regions) -> dict[str, Any]:
    return {kind: given for kind, given in asdict(regions).items() if given}


def answer_of(headers: Headers, body: bytes) -> DepthAnswer:
    """Read an answer that has the status 200.

    Raises:
        UnreadableAnswer: It is none of a depth service.
    """
    try:
        if headers["content-type"] == _JSON and "x-depth-format" not in headers:
            answer = read_headers({**headers, **_NO_MAP}, b"")
            return replace(answer, distances=distances_of(json.loads(body)))
        return read_headers(headers, body)
    except (KeyError, ValueError, TypeError) as error:
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
        return [ModelDescription(**{name: each[name] for name in names if name in each}) for each in told]
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
        answer = read_json(told, body or b"")
        return Outcome(index=told["frame"], answer=answer)
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableAnswer(f"a message is not a depth service's: {error}") from error


def has_map(text: str) -> bool:
    """Whether a stream's message is followed by a map."""
    return not {"error", "distances"} & set(json.loads(text))


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
