"""Questions and answers as gRPC has them: the messages of proto/, and the details of its errors.

It does not send anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from service.answer import DepthAnswer, Unit
from service.client.errors import (
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
from service.client.result import ModelDescription, Outcome
from service.request import CameraHeight, DepthRequest, FieldOfView, Format, Intrinsics, KnownDistance
from service.rpc.pb import depth_pb2 as pb

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
    options = pb.Options(
        model=request.model or "",
        model_version=request.version or "",
        format=pb.Format.Value(f"FORMAT_{request.format.name}"),
        size=pb.SIZE_MODEL if request.size == "model" else pb.SIZE_INPUT,
        priority=request.priority,
        color=pb.Color(map=request.colour.map or "", near=request.colour.near, far=request.colour.far),
    )
    if isinstance(request.lens, FieldOfView):
        options.lens.horizontal_fov_deg = request.lens.horizontal_deg
    elif isinstance(request.lens, Intrinsics):
        options.lens.intrinsics.CopyFrom(pb.Lens.Intrinsics(**asdict(request.lens)))
    if isinstance(request.anchor, CameraHeight):
        options.anchor.camera_height_m = request.anchor.height_m
    elif isinstance(request.anchor, KnownDistance):
        known = pb.Anchor.KnownDistance(**asdict(request.anchor))
        options.anchor.known_distance.CopyFrom(known)
    return options


def answer_of(response: pb.PredictResponse) -> DepthAnswer:
    """Read an answer.

    Raises:
        UnreadableAnswer: It has values that this client does not know.
    """
    try:
        unit = _UNITS[response.unit]
        format_ = Format[pb.Format.Name(response.format).removeprefix("FORMAT_")]
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"an answer has a value that is not known here: {error}") from error
    phases = ("decode", "queue", "predict", "encode", "total")
    lens = response.intrinsics
    return DepthAnswer(
        body=response.data,
        media_type=response.media_type,
        format=format_,
        height=response.height_px,
        width=response.width_px,
        dtype=response.dtype,
        scale=response.scale,
        unit=unit,
        scale_source=response.scale_source,  # type: ignore[arg-type]
        minimum=response.minimum,
        maximum=response.maximum,
        invalid=response.invalid,
        model=response.model,
        model_version=response.model_version,
        request_id=response.request_id,
        timings={phase: getattr(response.timings, f"{phase}_ms") / 1e3 for phase in phases},
        batch_size=response.batch_size,
        intrinsics=Intrinsics(fx_px=lens.fx_px, fy_px=lens.fy_px, cx_px=lens.cx_px, cy_px=lens.cy_px)
        if response.HasField("intrinsics")
        else None,
    )


def models_of(response: pb.ListModelsResponse) -> list[ModelDescription]:
    """Read the list of models."""
    return [
        ModelDescription(
            name=each.name,
            version=each.version,
            state=each.state,  # type: ignore[arg-type]
            default=each.default,
            current=each.current,
            unit=_UNITS.get(each.unit, "relative"),
            height=each.height_px,
            width=each.width_px,
            min_depth=each.min_depth,
            max_depth=each.max_depth,
            backend=each.backend,
            problem=each.problem or None,
        )
        for each in response.models
    ]


def outcome_of(response: pb.StreamResponse) -> Outcome:
    """Read what became of a frame of a stream."""
    if response.WhichOneof("outcome") == "depth":
        return Outcome(
            index=response.frame_id,
            answer=answer_of(response.depth),
            smoothing_factor=response.smoothing_factor,
        )
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
