"""The wire's messages as the engine's records, and back.

The records check themselves.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from service.contract.answer import DepthAnswer, ModelInfo
from service.contract.errors import InvalidArgument
from service.contract.messages import read_message
from service.contract.options import DepthOptions, LiveOptions, read_options
from service.contract.regions import regions_in
from service.contract.request import SparseDepth
from service.contract.wire import write_response
from service.rpc.errors import answer_of
from service.rpc.pb import depth_pb2 as pb
from service.transports.streaming import FrameAnswer

_MOST_OPTION_BYTES = 16_384
_UNITS = {"metre": pb.UNIT_METRE, "relative": pb.UNIT_RELATIVE}


def depth_fields(options: pb.Options) -> Mapping[str, Any]:
    """Return the fields of a DepthRequest that say how depth is wanted.

    Raises:
        InvalidArgument: An option's value is none that it may have.
    """
    if (size := options.ByteSize()) > _MOST_OPTION_BYTES:
        raise InvalidArgument(f"the options have {size} bytes; expected at most {_MOST_OPTION_BYTES}")
    return _remembered_fields(options.SerializeToString())


@lru_cache(maxsize=256)
def _remembered_fields(options: bytes) -> Mapping[str, Any]:
    return read_options(DepthOptions, read_message(pb.Options.FromString(options))).request_fields()


def picture_fields(message: pb.PredictRequest | pb.Frame) -> Mapping[str, Any]:
    """Return the fields of a DepthRequest that belong to one picture: what is measured in it, and where.

    Raises:
        InvalidArgument: A region is none, or two anchors are given.
    """
    fields: dict[str, Any] = {}
    if message.HasField("sparse_depth"):
        sparse = message.sparse_depth
        steps = sparse.steps_per_metre or SparseDepth.steps_per_metre
        fields["anchor"] = SparseDepth(png=sparse.png, steps_per_metre=steps)
    if (regions := regions_in(message.regions)) is not None:
        fields |= {"regions": regions, "map": False}
    return fields


def live_options(config: pb.StreamConfig) -> LiveOptions:
    """Return what is asked of a stream.

    Raises:
        InvalidArgument: An option's value is none that it may have.
    """
    return read_options(LiveOptions, read_message(config))


def to_response(answer: DepthAnswer) -> pb.PredictResponse:
    """Write an answer down."""
    response = pb.PredictResponse()
    write_response(answer, response)
    return response


def to_stream_response(result: FrameAnswer[DepthAnswer]) -> pb.StreamResponse:
    """Write down what became of a frame."""
    response = pb.StreamResponse(frame_id=result.frame_id, skipped=result.skipped)
    if result.answer is not None:
        # Filled where it is: assigning a message would copy its map once more.
        write_response(result.answer, response.depth)
    elif result.error is not None:
        told = answer_of(result.error)
        response.error.code = told.code
        response.error.message = told.message
        response.error.retry_after_ms = round((told.retry_after_s or 0) * 1e3)
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
        affine=info.affine,
        licence=info.licence,
    )
