"""Errors as HTTP says them: one table from class to status, one form of body.

The text of an unexpected one goes to the log and nowhere else.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from service.contract.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InferenceFailed,
    InvalidArgument,
    InvalidImage,
    NotReady,
    Overloaded,
    RateLimited,
    RequestError,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnknownModel,
)

logger = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]
TRANSPORT = "http"
"""What this transport is called in metrics."""
CLIENT_CLOSED_REQUEST = 499
"""What logs and metrics say, by nginx's custom, of a client that hung up; it is never sent."""


class HttpError(Exception):
    """Something that only HTTP can get wrong."""

    status: HTTPStatus
    code: str
    """As `ServiceError.code`; written out, because Python renames its statuses from version to version."""


class BodyTooLarge(HttpError):
    """The body has more bytes than are taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "request_entity_too_large"


class BodyTimedOut(HttpError):
    """The body came too slowly."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"


class UnsupportedMediaType(HttpError):
    """The body is, by its own word, nothing that this transport reads."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"


class NotAcceptable(HttpError):
    """The client takes nothing that this transport writes."""

    status = HTTPStatus.NOT_ACCEPTABLE
    code = "not_acceptable"


class ClientGone(Exception):
    """The client hung up: nobody is left to answer."""


STATUS: dict[type[ServiceError], HTTPStatus] = {
    ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    RequestError: HTTPStatus.BAD_REQUEST,
    InvalidArgument: HTTPStatus.BAD_REQUEST,
    InvalidImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnknownModel: HTTPStatus.NOT_FOUND,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    InferenceFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(error: ServiceError) -> HTTPStatus:
    """Look an error's class, or the nearest one above it, up in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


ErrorForm = Callable[[str, str, str | None], bytes]
"""Writes an error's body from its code, its message and the request's id."""


def error_body(code: str, message: str, request_id: str | None) -> bytes:
    """Write the one form that every error of ours has."""
    return orjson.dumps({"error": {"code": code, "message": message, "request_id": request_id}})


class ErrorForms:
    """Which form errors have, by path: ours, but where another protocol prescribes its own.

    Args:
        others: By the first part of the paths that they hold for, such as ``/v2``.
    """

    def __init__(self, others: Mapping[str, ErrorForm]) -> None:
        self._others = others

    def of(self, path: str) -> ErrorForm:
        """Return the form for a path."""
        return self._others.get("/" + path.split("/", 2)[1] if path.startswith("/") else "", error_body)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorAnswer:
    """What a client is told of an error."""

    status: int
    code: str
    """A stable word, the same over gRPC."""
    message: str
    headers: Headers = ()


_UNEXPECTED = ErrorAnswer(
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    code="internal",
    message="internal error; the server's log has it under this request id",
)


def answer_of(error: Exception) -> ErrorAnswer:
    """Say an error in HTTP's words; log it, and tell nothing, where nobody foresaw it."""
    if isinstance(error, ServiceError):
        headers: list[tuple[bytes, bytes]] = []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
        if isinstance(error, Unauthenticated):
            headers.append((b"www-authenticate", b"Bearer"))
        return ErrorAnswer(status=status_of(error), code=error.code, message=str(error), headers=headers)
    if isinstance(error, HttpError):
        return ErrorAnswer(status=error.status, code=error.code, message=str(error))
    logger.error("unexpected error", exc_info=error)
    return _UNEXPECTED
