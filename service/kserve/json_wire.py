"""Requests and answers as HTTP carries them: JSON, and tensors as bytes behind it."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from service.contract.errors import InvalidArgument
from service.kserve.contract import DEPTH, ENCODED
from service.kserve.infer import InferAnswer, InferCall, RequestedOutput, check_counts, check_parameters
from service.kserve.objects import InferOutput, InferResponse
from service.kserve.parameters import Scalar
from service.kserve.tensors import (
    BINARY_SIZE,
    SHARED,
    Elements,
    SharedTensor,
    Tensor,
    check_images,
    from_numbers,
    from_raw,
    known,
    read_hints,
    shared_place,
    tensor_of,
    to_numbers,
    unpacked,
)
from service.settings import Settings

BINARY_OUTPUT = "binary_data_output"
_MARKS = (b",", b":", b"[", b"{")
"""Each value in JSON has one of these beside it, and each grows tenfold or more when it is read."""


def read_raw_call(model: str, version: str, body: bytes) -> InferCall:
    """Take a bare photograph for a request; its answer comes raw too."""
    image = tensor_of(ENCODED.name, ENCODED.datatype, (1,), [body])
    return InferCall(
        model=model,
        version=version,
        inputs=(image,),
        outputs=(RequestedOutput(name=DEPTH.name, parameters={"binary_data": True}),),
    )


def read_call(model: str, version: str, body: bytes, json_bytes: int | None, settings: Settings) -> InferCall:
    """Read a request.

    Args:
        model: From the path.
        version: Likewise; empty where there is none.
        body: JSON, and raw tensors behind it.
        json_bytes: How long the JSON is; all of the body where None.
        settings: Say how large it may be.

    Raises:
        InvalidArgument: It is no such request, or there is too much of something.
    """
    if json_bytes is not None and json_bytes > len(body):
        raise InvalidArgument(f"the JSON is said to have {json_bytes} bytes, and the body has {len(body)}")
    text = body if json_bytes is None else body[:json_bytes]
    _check_size(text, settings)
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is no JSON: {error.msg} at character {error.pos}") from None
    request = _object(said, "the request")
    inputs = _list(request.get("inputs"), "inputs")
    outputs_said = _list(request.get("outputs", []), "outputs")
    check_counts(inputs, outputs_said)
    raw = _Raw(memoryview(body)[len(text) :])
    tensors = [_read_input(_object(each, "an input"), raw, settings.max_images_per_call) for each in inputs]
    raw.check_spent()
    parameters = dict(_parameters(request, "the request"))
    binary = parameters.pop(BINARY_OUTPUT, False)
    if not isinstance(binary, bool):
        raise InvalidArgument(f"{BINARY_OUTPUT!r} is {str(binary)[:40]!r}; expected true or false")
    outputs = [_read_output(_object(each, "an output")) for each in outputs_said]
    if binary:
        # The request's word for all outputs; what an output says for itself is stronger.
        outputs = outputs or [RequestedOutput(name=DEPTH.name)]
        outputs = [
            RequestedOutput(name=each.name, parameters={"binary_data": True, **each.parameters})
            for each in outputs
        ]
    return InferCall(
        model=model,
        version=version,
        id=_text(request.get("id", ""), "the request's id"),
        parameters=parameters,
        inputs=tensors,
        outputs=outputs,
    )


def _check_size(text: bytes, settings: Settings) -> None:
    most_bytes, most = settings.max_request_json_bytes, settings.max_request_numbers
    if len(text) > most_bytes:
        raise InvalidArgument(
            f"the JSON has {len(text)} bytes; expected at most {most_bytes} (DEPTH_MAX_REQUEST_JSON_BYTES), "
            "and tensors as binary data"
        )
    count = sum(map(text.count, _MARKS))
    if count > most:
        raise InvalidArgument(
            f"the JSON has {count} numbers, names and lists; expected at most {most} "
            "(DEPTH_MAX_REQUEST_NUMBERS), and tensors as binary data"
        )


def write_answer(
    answer: InferAnswer, *, binary: bool, most_numbers: int
) -> tuple[Sequence[bytes], int | None]:
    """Write an answer; return its bytes in pieces, and how many of them are JSON where others follow.

    Args:
        answer: The answer.
        binary: Whether depth comes as bytes.
        most_numbers: So many may come as JSON.

    Raises:
        InvalidArgument: There are more.
    """
    output: InferOutput = {"name": DEPTH.name, "datatype": DEPTH.datatype, "shape": answer.shape}
    response: InferResponse = {
        "model_name": answer.model,
        "model_version": answer.version,
        "outputs": [output],
    }
    if answer.id:
        response["id"] = answer.id
    if answer.place is not None:
        where = (answer.place.region, answer.place.byte_size, answer.place.offset)
        output["parameters"] = {**dict(zip(SHARED, where, strict=True)), **answer.parameters}
        return (orjson.dumps(response),), None
    if binary:
        output["parameters"] = {BINARY_SIZE: len(answer.depth), **answer.parameters}
        head = orjson.dumps(response)
        return (head, answer.depth), len(head)
    depth = answer.numbers(most_numbers, where="in JSON", instead=f"{BINARY_OUTPUT}: true")
    output["parameters"] = answer.parameters
    output["data"] = to_numbers(depth)
    return (orjson.dumps(response),), None


class _Raw:
    """The bytes behind the JSON, handed out in the order of the inputs."""

    def __init__(self, left: memoryview) -> None:
        self._left = left

    def take(self, name: str, size: object) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self._left):
            raise InvalidArgument(
                f"input {name!r} says {BINARY_SIZE}: {str(size)[:20]}; expected a number of bytes, "
                f"of the {len(self._left)} that are left of the body"
            )
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def check_spent(self) -> None:
        if self._left:
            raise InvalidArgument(f"{len(self._left)} bytes of the body belong to no input; expected none")


def _read_input(said: Mapping[str, Any], raw: _Raw, most_images: int) -> Tensor | SharedTensor:
    name = _text(said.get("name"), "an input's name")
    datatype = known(name, said.get("datatype"))
    shape = _list(said.get("shape"), f"the shape of input {name!r}")
    parameters: Mapping[str, object] = _parameters(said, f"input {name!r}")
    place, parameters = shared_place(f"input {name[:40]!r}", parameters)
    may_be_packed = read_hints(name, datatype, parameters)
    if place is not None:
        if BINARY_SIZE in parameters or "data" in said:
            raise InvalidArgument(f"input {name[:40]!r} has data, and shared memory too; expected one")
        return SharedTensor(name=name, datatype=datatype, shape=shape, place=place)
    is_raw = BINARY_SIZE in parameters
    if is_raw == ("data" in said):
        raise InvalidArgument(f"input {name!r}: expected either data or {BINARY_SIZE!r}")
    if is_raw:
        taken = raw.take(name, parameters[BINARY_SIZE])
        elements = from_raw(name, datatype, taken, most_images=most_images)
        if may_be_packed and not isinstance(elements, np.ndarray):
            elements = unpacked(elements)
    else:
        elements = _read_data(name, datatype, said["data"], most_images)
    return tensor_of(name, datatype, shape, elements)


def _read_data(name: str, datatype: str, data: object, most_images: int) -> Elements:
    listed = _list(data, f"the data of input {name!r}")
    if datatype != "BYTES":
        return from_numbers(name, datatype, listed)
    check_images(name, len(listed), most_images)
    elements = []
    for text in _flat(listed):
        try:
            elements.append(base64.b64decode(text, validate=True))
        except (TypeError, ValueError, binascii.Error):
            raise InvalidArgument(
                f"the data of input {name!r} cannot be read; expected strings of base64"
            ) from None
    return elements


def _flat(data: list[Any]) -> list[Any]:
    """Return the elements of a list of lists of one: JSON of shape [n, 1]."""
    return [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]


def _read_output(said: Mapping[str, Any]) -> RequestedOutput:
    name = _text(said.get("name"), "an output's name")
    return RequestedOutput(name=name, parameters=_parameters(said, f"output {name[:40]!r}"))


def _parameters(said: Mapping[str, Any], whose: str) -> Mapping[str, Scalar]:
    parameters = _object(said.get("parameters", {}), f"the parameters of {whose}")
    check_parameters(parameters, whose)
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidArgument(f"parameter {name[:40]!r} of {whose} is no text, number, true or false")
    return parameters


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is no JSON object; expected one")
    return {name: each for name, each in value.items() if each is not None}  # null is as good as absent


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidArgument(f"{what}: expected a JSON list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{what}: expected a JSON string")
    return value
