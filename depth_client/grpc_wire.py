"""Questions and answers as gRPC has them: the messages of proto/, and the details of its errors.

It does not send anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from depth_client import depth_pb2 as pb
from depth_client.contract import DepthAnswer, DepthRequest, Unit, read_response, write_message
from depth_client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InvalidArgument,
    NotReady,
    Overloaded,
    ServiceError,
    Unauthenticated,
    UnknownModel,
    Unreachable,
    UnreadableAnswer,
    error_of,
)
from depth_client.result import ModelDescription, Outcome

_BY_STATUS: Mapping[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.CANCELLED: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.PERMISSION_DENIED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.UNIMPLEMENTED: UnreadableAnswer,
}
"""For errors that name none of our codes: gRPC's own, and those of proxies."""
_UNITS: "Mapping[pb.Unit.ValueType, Unit]" = {pb.UNIT_METRE: "metre", pb.UNIT_RELATIVE: "relative"}
_IN_PIXELS = {"height": "height_px", "width": "width_px"}
_TOO_LARGE = "larger than max"
"""In gRPC's own words for a message beyond the server's bound, which come as RESOURCE_EXHAUSTED, too."""


class FailedCall(Protocol):
    """What grpc and grpc.aio both raise."""

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        ...

    def details(self) -> str | None:
        """Return the text."""
        ...

    def trailing_metadata(self) -> Any:
        """Return names and values."""
        ...


def metadata_of(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return headers as gRPC takes them."""
    return tuple(headers.items())


def options_of(request: DepthRequest) -> pb.Options:
    """Return the options of a request."""
    options = pb.Options()
    write_message(options, request.options())
    return options


def answer_of(response: pb.PredictResponse) -> DepthAnswer:
    """Read an answer.

    Raises:
        UnreadableAnswer: It has values that this client does not know.
    """
    try:
        return read_response(response)
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"an answer has a value that is not known here: {error}") from error


def models_of(response: pb.ListModelsResponse) -> list[ModelDescription]:
    """Read the list of models."""
    models = []
    for each in response.models:
        names = (one.name for one in fields(ModelDescription))
        told = {name: getattr(each, _IN_PIXELS.get(name, name)) for name in names}
        told |= {"unit": _UNITS.get(each.unit, "relative"), "problem": each.problem or None}
        models.append(ModelDescription(**told))
    return models


def outcome_of(response: pb.StreamResponse) -> Outcome:
    """Read what became of a frame of a stream."""
    if response.WhichOneof("outcome") == "depth":
        return Outcome(index=response.frame_id, answer=answer_of(response.depth))
    told = response.error
    error = error_of(
        told.code,
        told.message,
        otherwise=ServiceError,
        retry_after_s=told.retry_after_ms / 1e3 if told.retry_after_ms else None,
    )
    return Outcome(index=response.frame_id, error=error)


def error_answer(failed: FailedCall, request_id: str) -> ServiceError:
    """Read a failed call: the service's own words where it has left some, else gRPC's."""
    metadata = dict(failed.trailing_metadata() or ())
    reason, retry_after_s = _details(metadata.get("grpc-status-details-bin"))
    message = failed.details() or failed.code().name
    otherwise = _BY_STATUS.get(failed.code(), ServiceError)
    if otherwise is Overloaded and _TOO_LARGE in message:
        otherwise = ImageTooLarge
    return error_of(reason, message, otherwise=otherwise, retry_after_s=retry_after_s, request_id=request_id)


def _details(packed: bytes | None) -> tuple[str, float | None]:
    """Return the error's code and the wait that it asks for."""
    reason, retry_after_s = "", None
    try:
        details: Sequence[Any] = status_pb2.Status.FromString(packed or b"").details
        for detail in details:
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(retry):
                retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    except DecodeError:
        pass  # some proxy's own; the status itself still says enough
    return reason, retry_after_s


def not_serving() -> ServiceError:
    """Say what the health service says when requests should go elsewhere."""
    return NotReady("not ready", retry_after_s=1.0)
