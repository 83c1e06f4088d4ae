"""What can go wrong, as one tree.

Each transport has one table from class to code.

    ServiceError
    ├── RequestError             the caller can put it right
    │   ├── InvalidArgument      an option is out of range or does not fit the others
    │   ├── InvalidImage         the bytes are no image that we read
    │   ├── ImageTooLarge        an image has more pixels than allowed
    │   ├── UnknownModel         no model has that name and version
    │   └── Unauthenticated      no valid API key
    ├── Unavailable              the same request may succeed later
    │   ├── NotReady             starting, draining, or the model's backend is being rebuilt
    │   ├── Overloaded           too much is waiting already
    │   │   └── RateLimited      this caller has used up its share
    │   └── DeadlineExceeded     it could not be answered in time
    └── InferenceFailed          the network gave no depth for this image
"""

from typing import ClassVar


class ServiceError(Exception):
    """Anything that the service says no with; its text is meant for callers and names no internals.

    Args:
        message: What was wrong, with the value and what was expected.
        retry_after_s: When the same request may be worth sending again; None where that is unknown or no use.
    """

    code: ClassVar[str] = "internal"
    """A stable word for programs, the same through every transport."""
    request_id: str = ""
    """Under which the service's log has it: for callers from afar, whose client fills it in."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class RequestError(ServiceError):
    """The caller can put it right."""

    code = "invalid_request"


class InvalidArgument(RequestError):
    """An option is out of range or does not fit the others."""

    code = "invalid_argument"


class InvalidImage(RequestError):
    """The bytes are no image that we read."""

    code = "invalid_image"


class ImageTooLarge(RequestError):
    """An image has more pixels than allowed."""

    code = "image_too_large"


class UnknownModel(RequestError):
    """No model has that name and version."""

    code = "unknown_model"


class Unauthenticated(RequestError):
    """No valid API key came with the request."""

    code = "unauthenticated"


class Unavailable(ServiceError):
    """The same request may succeed later."""

    code = "unavailable"


class NotReady(Unavailable):
    """Starting, draining, or the model's backend is being rebuilt."""

    code = "not_ready"


class Overloaded(Unavailable):
    """Too much is waiting already."""

    code = "overloaded"


class RateLimited(Overloaded):
    """This caller has used up its share for now."""

    code = "rate_limited"


class DeadlineExceeded(Unavailable):
    """It could not be answered in time."""

    code = "deadline_exceeded"


class InferenceFailed(ServiceError):
    """The network gave no depth for this image."""

    code = "inference_failed"
