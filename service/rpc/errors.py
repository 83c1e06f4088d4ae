"""Errors as gRPC says them: one table from class to status code, with the details that clients act on.

The text of an unexpected one goes to the log and nowhere else.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

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

DOMAIN = "depth.v1"
"""Whose words the reasons in ErrorInfo are."""
Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, str | bytes], ...]

STATUS: dict[type[ServiceError], grpc.StatusCode] = {
    ServiceError: grpc.StatusCode.INTERNAL,
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidImage: grpc.StatusCode.INVALID_ARGUMENT,
    ImageTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    InferenceFailed: grpc.StatusCode.INTERNAL,
}


def status_of(error: ServiceError) -> grpc.StatusCode:
    """Look an error's class, or the nearest one above it, up in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcError:
    """What a client is told of an error."""

    status: grpc.StatusCode
    code: str
    """A stable word, the same over HTTP."""
    message: str
    retry_after_s: float | None = None

    def trailing_metadata(self, request_id: str) -> Metadata:
        """Write the details by which clients act: google.rpc's, and what HTTP would say as headers."""
        status = status_pb2.Status(code=self.status.value[0], message=self.message)
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(reason=self.code, domain=DOMAIN, metadata={"request_id": request_id})
        )
        metadata: list[tuple[str, str | bytes]] = [("x-request-id", request_id)]
        if self.retry_after_s is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(self.retry_after_s * 1e9))
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            metadata.append(("retry-after", str(max(1, math.ceil(self.retry_after_s)))))
            # By this the retries that gRPC's libraries make of themselves wait as long.
            metadata.append(("grpc-retry-pushback-ms", str(math.ceil(self.retry_after_s * 1e3))))
        metadata.append(("grpc-status-details-bin", status.SerializeToString()))
        return tuple(metadata)


_UNEXPECTED = RpcError(
    status=grpc.StatusCode.INTERNAL,
    code="internal",
    message="internal error; the server's log has it under this request id",
)


def answer_of(error: Exception) -> RpcError:
    """Say an error in gRPC's words; log it, and tell nothing, where nobody foresaw it."""
    if isinstance(error, ServiceError):
        return RpcError(
            status=status_of(error), code=error.code, message=str(error), retry_after_s=error.retry_after_s
        )
    logger.error("unexpected error", exc_info=error)
    return _UNEXPECTED
