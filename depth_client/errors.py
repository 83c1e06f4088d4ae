"""What a client may have to catch: the service's own tree, and what only a caller from afar can meet.

Each of them says what it met in these words.

    ServiceError             and its tree, as service/contract/errors.py draws it
    ├── Unavailable
    │   └── Unreachable      no connection, or it broke before there was an answer
    └── UnreadableAnswer     what answered is no depth service that this client knows
"""

from collections.abc import Iterator

from depth_client.contract import (
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

__all__ = [
    "DeadlineExceeded",
    "ImageTooLarge",
    "InferenceFailed",
    "InvalidArgument",
    "InvalidImage",
    "NotReady",
    "Overloaded",
    "RateLimited",
    "RequestError",
    "ServiceError",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "Unreachable",
    "UnreadableAnswer",
    "error_of",
]


class Unreachable(Unavailable):
    """No connection could be had, or it broke before there was an answer."""

    code = "unreachable"


class UnreadableAnswer(ServiceError):
    """Something answered, but no depth service that this client knows."""

    code = "unreadable_answer"


def _tree(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for branch in kind.__subclasses__():
        yield from _tree(branch)


_BY_CODE = {kind.code: kind for kind in _tree(ServiceError)}


def error_of(
    code: str,
    message: str,
    *,
    otherwise: type[ServiceError],
    retry_after_s: float | None = None,
    request_id: str = "",
) -> ServiceError:
    """Make the error that a service named.

    Args:
        code: Its stable word; `otherwise` counts where it is none that this client knows.
        message: For people.
        otherwise: The class that the transport's own status suggests.
        retry_after_s: When trying again makes sense.
        request_id: Under which the service's log has it.
    """
    error = _BY_CODE.get(code, otherwise)(message, retry_after_s=retry_after_s)
    error.request_id = request_id
    return error
