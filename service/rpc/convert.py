"""The wire's messages as the engine's records, and back.

It does not know what any of it means; the records check themselves.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.answer import DepthAnswer, ModelInfo
from service.errors import InvalidArgument
from service.request import Anchor, CameraHeight, Colour, FieldOfView, Format, Intrinsics, KnownDistance, Lens
from service.rpc.errors import answer_of
from service.rpc.pb import depth_pb2 as pb
from service.streaming import FrameAnswer

_FORMATS: "Mapping[pb.Format.ValueType, Format]" = {
    pb.FORMAT_UNSPECIFIED: Format.PNG16,
    pb.FORMAT_PNG16: Format.PNG16,
    pb.FORMAT_NPY: Format.NPY,
    pb.FORMAT_FLOAT32: Format.FLOAT32,
    pb.FORMAT_FLOAT16: Format.FLOAT16,
    pb.FORMAT_UINT16_MM: Format.UINT16_MM,
    pb.FORMAT_JXL: Format.JXL,
    pb.FORMAT_JSON: Format.JSON,
    pb.FORMAT_COLOR: Format.COLOR,
    pb.FORMAT_PLY: Format.PLY,
    pb.FORMAT_PNG16_MM: Format.PNG16_MM,
}
_FORMATS_ON_THE_WIRE = {ours: theirs for theirs, ours in _FORMATS.items()}
_SIZES = {pb.SIZE_UNSPECIFIED: "input", pb.SIZE_INPUT: "input", pb.SIZE_MODEL: "model"}
_UNITS = {"metre": pb.UNIT_METRE, "relative": pb.UNIT_RELATIVE}


def depth_options(options: pb.Options) -> dict[str, Any]:
    """Answer the fields of a DepthRequest that say how depth is wanted.

    Raises:
        InvalidArgument: An enumerated value is none that we know, or a record refuses its fields.
    """
    if options.format not in _FORMATS:
        raise InvalidArgument(f"format is {options.format}; expected a value of depth.v1.Format")
    if options.size not in _SIZES:
        raise InvalidArgument(f"size is {options.size}; expected a value of depth.v1.Size")
    return {
        "format": _FORMATS[options.format],
        "size": _SIZES[options.size],
        "model": options.model or None,
        "version": options.model_version or None,
        "priority": options.priority,
        "lens": _lens(options.lens),
        "anchor": _anchor(options.anchor),
        "colour": _colour(options.color),
    }


def to_response(answer: DepthAnswer) -> pb.PredictResponse:
    """Write an answer down."""
    return _fill(pb.PredictResponse(), answer)


def to_stream_response(result: FrameAnswer[DepthAnswer]) -> pb.StreamResponse:
    """Write down what became of a frame."""
    response = pb.StreamResponse(
        frame_id=result.frame_id, skipped=result.skipped, smoothing_factor=result.factor
    )
    if result.answer is not None:
        # Filled where it is: assigning a message would copy its map once more.
        _fill(response.depth, result.answer)
    elif result.error is not None:
        told = answer_of(result.error)
        response.error.code = told.code
        response.error.message = told.message
        response.error.retry_after_ms = round((told.retry_after_s or 0) * 1e3)
    return response


def _fill(response: pb.PredictResponse, answer: DepthAnswer) -> pb.PredictResponse:
    response.data = answer.body
    response.media_type = answer.media_type
    response.format = _FORMATS_ON_THE_WIRE[answer.format]
    response.height_px = answer.height
    response.width_px = answer.width
    response.dtype = answer.dtype
    response.scale = answer.scale
    response.unit = _UNITS[answer.unit]
    response.scale_source = answer.scale_source
    response.minimum = answer.minimum
    response.maximum = answer.maximum
    response.invalid = answer.invalid
    response.model = answer.model
    response.model_version = answer.model_version
    response.request_id = answer.request_id
    response.batch_size = answer.batch_size
    if answer.intrinsics is not None:
        response.intrinsics.CopyFrom(pb.Lens.Intrinsics(**asdict(answer.intrinsics)))
    for phase, seconds in answer.timings.items():
        setattr(response.timings, f"{phase}_ms", seconds * 1e3)
    return response


def to_model(info: ModelInfo) -> pb.Model:
    """Write down what may be known of a model."""
    return pb.Model(
        name=info.name,
        version=info.version,
        state=info.state,
        default=info.default,
        current=info.current,
        unit=_UNITS[info.unit],
        height_px=info.height,
        width_px=info.width,
        min_depth=info.min_depth,
        max_depth=info.max_depth,
        backend=info.backend,
        problem=info.problem or "",
    )


def _lens(lens: pb.Lens) -> Lens | None:
    match lens.WhichOneof("lens"):
        case "intrinsics":
            given = lens.intrinsics
            return Intrinsics(fx_px=given.fx_px, fy_px=given.fy_px, cx_px=given.cx_px, cy_px=given.cy_px)
        case "horizontal_fov_deg":
            return FieldOfView(horizontal_deg=lens.horizontal_fov_deg)
        case _:
            return None


def _anchor(anchor: pb.Anchor) -> Anchor | None:
    match anchor.WhichOneof("anchor"):
        case "camera_height_m":
            return CameraHeight(height_m=anchor.camera_height_m)
        case "known_distance":
            known = anchor.known_distance
            return KnownDistance(x_px=known.x_px, y_px=known.y_px, distance_m=known.distance_m)
        case _:
            return None


def _colour(color: pb.Color) -> Colour:
    return Colour(
        map=color.map or None,
        near=color.near if color.HasField("near") else None,
        far=color.far if color.HasField("far") else None,
    )
