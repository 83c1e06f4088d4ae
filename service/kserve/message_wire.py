"""Requests and answers as gRPC carries them: the protocol's messages, with tensors raw or typed.

It does not know calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.internal.containers import MessageMap

from service.errors import InvalidArgument
from service.kserve.contract import DEPTH
from service.kserve.infer import InferAnswer, InferCall, RequestedOutput
from service.kserve.parameters import Scalar
from service.kserve.tensors import Elements, Tensor, from_raw, known, tensor_of
from service.rpc.pb import inference_pb2 as pb

FINAL = "triton_final_response"
"""By this clients of a stream know that nothing more comes for a request."""


def read_call(request: pb.ModelInferRequest) -> InferCall:
    """Read a request.

    Raises:
        InvalidArgument: Its tensors are not what it says of them.
    """
    raw = request.raw_input_contents
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
            _read_input(tensor, raw[place] if raw else None) for place, tensor in enumerate(request.inputs)
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
        most_numbers: So many may come typed; each is written by itself, and meanwhile nobody is served.
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
    if raw:
        response.raw_output_contents.append(answer.depth)
    else:
        numbers = answer.numbers(most_numbers, where="as contents", instead="raw contents")
        output.contents.fp32_contents.extend(numbers)
    return response


def _read_input(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> Tensor:
    if tensor.parameters:
        name = next(iter(tensor.parameters))
        raise InvalidArgument(f"input {tensor.name[:40]!r} has the parameter {name[:40]!r}; expected none")
    elements: Elements
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidArgument(f"input {tensor.name[:40]!r} has contents, and raw ones too; expected one")
        elements = from_raw(tensor.name, tensor.datatype, raw)
    else:
        elements = _typed(tensor)
    return tensor_of(tensor.name, tensor.datatype, list(tensor.shape), elements)


def _typed(tensor: pb.ModelInferRequest.InferInputTensor) -> Elements:
    contents = tensor.contents
    match known(tensor.name, tensor.datatype):
        case "BYTES":
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
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value
