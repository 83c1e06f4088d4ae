"""Requests and answers as gRPC carries them: the protocol's messages, with tensors raw or typed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.internal.containers import MessageMap

from service.contract.errors import InvalidArgument
from service.kserve.contract import DEPTH
from service.kserve.infer import InferAnswer, InferCall, RequestedOutput, check_counts, check_parameters
from service.kserve.parameters import Scalar
from service.kserve.tensors import (
    SHARED_OFFSET,
    SHARED_REGION,
    SHARED_SIZE,
    Elements,
    SharedTensor,
    Tensor,
    check_images,
    from_raw,
    known,
    read_hints,
    shared_place,
    tensor_of,
    unpacked,
)
from service.rpc.pb import inference_pb2 as pb

_FP32_CONTENTS = pb.InferTensorContents.FP32_CONTENTS_FIELD_NUMBER
FINAL = "triton_final_response"
"""By this clients of a stream know that nothing more comes for a request."""


def read_call(request: pb.ModelInferRequest, *, most_images: int) -> InferCall:
    """Read a request of at most so many images.

    Raises:
        InvalidArgument: Its tensors are not what it says of them, or there are too many of something.
    """
    raw = request.raw_input_contents
    check_counts(request.inputs, request.outputs)
    if raw and len(raw) != len(request.inputs):
        raise InvalidArgument(
            f"the request has {len(raw)} raw contents for {len(request.inputs)} inputs; expected none or all"
        )
    return InferCall(
        model=request.model_name,
        version=request.model_version,
        id=request.id,
        parameters=_parameters(request.parameters),
        inputs=[
            _read_input(tensor, raw[place] if raw else None, most_images)
            for place, tensor in enumerate(request.inputs)
        ],
        outputs=[
            RequestedOutput(name=output.name, parameters=_parameters(output.parameters))
            for output in request.outputs
        ],
    )


def write_answer(
    answer: InferAnswer, *, raw: bool, most_numbers: int, final: bool | None = None
) -> pb.ModelInferResponse:
    """Write an answer.

    Args:
        answer: The answer.
        raw: Whether depth comes as bytes, rather than typed.
        most_numbers: So many may come typed.
        final: Whether nothing more comes for this request; unsaid where None.

    Raises:
        InvalidArgument: There are more numbers.
    """
    response = pb.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id)
    output = response.outputs.add(name=DEPTH.name, datatype=DEPTH.datatype, shape=answer.shape)
    for name, value in answer.parameters.items():
        _write_parameter(output.parameters[name], value)
    if final is not None:
        response.parameters[FINAL].bool_param = final
    if answer.place is not None:
        output.parameters[SHARED_REGION].string_param = answer.place.region
        output.parameters[SHARED_SIZE].int64_param = answer.place.byte_size
        output.parameters[SHARED_OFFSET].int64_param = answer.place.offset
    elif raw:
        response.raw_output_contents.append(answer.depth)
    else:
        numbers = answer.numbers(most_numbers, where="as contents", instead="raw contents")
        # As the wire has them: to hand them over number by number takes seven times as long.
        output.contents.MergeFromString(_field(_FP32_CONTENTS, numbers.tobytes()))
    return response


def _field(number: int, data: bytes) -> bytes:
    """Write a field of bytes: its key, their count and themselves."""
    size, count = bytearray(), len(data)
    while count >= 0x80:
        size.append(count & 0x7F | 0x80)
        count >>= 7
    size.append(count)
    return bytes((number << 3 | 2, *size)) + data


def _read_input(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, most_images: int
) -> Tensor | SharedTensor:
    place, parameters = shared_place(f"input {tensor.name[:40]!r}", _parameters(tensor.parameters))
    may_be_packed = read_hints(tensor.name, tensor.datatype, parameters)
    if place is not None:
        if raw is not None or tensor.HasField("contents"):
            raise InvalidArgument(
                f"input {tensor.name[:40]!r} has contents, and shared memory too; expected one"
            )
        datatype = known(tensor.name, tensor.datatype)
        return SharedTensor(name=tensor.name, datatype=datatype, shape=list(tensor.shape), place=place)
    elements: Elements
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidArgument(f"input {tensor.name[:40]!r} has contents, and raw ones too; expected one")
        elements = from_raw(tensor.name, tensor.datatype, raw, most_images=most_images)
    else:
        elements = _typed(tensor, most_images)
    if may_be_packed and not isinstance(elements, np.ndarray):
        elements = unpacked(elements)
    return tensor_of(tensor.name, tensor.datatype, list(tensor.shape), elements)


def _typed(tensor: pb.ModelInferRequest.InferInputTensor, most_images: int) -> Elements:
    contents = tensor.contents
    match known(tensor.name, tensor.datatype):
        case "BYTES":
            check_images(tensor.name, len(contents.bytes_contents), most_images)
            return list(contents.bytes_contents)
        case "FP32":
            return np.asarray(contents.fp32_contents, "<f4")
        case "UINT8":
            numbers: Sequence[int] = contents.uint_contents
            values = np.asarray(numbers, np.uint32)
            if values.size and values.max() > 255:
                raise InvalidArgument(
                    f"the data of input {tensor.name!r} does not fit UINT8; expected numbers from 0 to 255"
                )
            return values.astype(np.uint8)


def _parameters(said: "MessageMap[str, pb.InferParameter]") -> Mapping[str, Scalar]:
    check_parameters(said, "the request, an input or an output")
    return {name: _scalar(name, value) for name, value in said.items()}


def _scalar(name: str, parameter: pb.InferParameter) -> Scalar:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidArgument(f"parameter {name[:40]!r} has no value; expected one")
    value: Any = getattr(parameter, kind)
    return value  # type: ignore[no-any-return]  # by the oneof it is a scalar


def _write_parameter(parameter: pb.InferParameter, value: Scalar) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    else:  # KServe's own message knows no `double_param`, and its client drops what comes so
        parameter.string_param = str(value)
