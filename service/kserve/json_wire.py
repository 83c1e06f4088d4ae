"""Requests and answers as HTTP carries them: JSON, and tensors as bytes behind it.

It does not know HTTP's headers but for one number: how long the JSON is.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from service.errors import InvalidArgument
from service.kserve.contract import DEPTH, ENCODED
from service.kserve.infer import InferAnswer, InferCall, RequestedOutput
from service.kserve.parameters import Scalar
from service.kserve.tensors import Elements, Tensor, from_numbers, from_raw, known, tensor_of, to_numbers

BINARY_SIZE = "binary_data_size"
BINARY_OUTPUT = "binary_data_output"
_CONTENT_TYPE = "content_type"
"""Of an input; ``base64`` is what BYTES in JSON are here whether it is said or not."""
_MOST_JSON_BYTES = 16 * 2**20
"""Numbers as text grow tenfold when they are read; what is larger comes as bytes."""


def read_raw_call(model: str, version: str, body: bytes) -> InferCall:
    """Take a bare photograph for a request; its answer comes raw too."""
    image = tensor_of(ENCODED.name, ENCODED.datatype, (1,), [body])
    return InferCall(
        model=model,
        version=version,
        inputs=(image,),
        outputs=(RequestedOutput(name=DEPTH.name, parameters={"binary_data": True}),),
    )


def read_call(model: str, version: str, body: bytes, json_bytes: int | None) -> InferCall:
    """Read a request.

    Args:
        model: From the path.
        version: Likewise; empty where there is none.
        body: JSON, and raw tensors behind it.
        json_bytes: How long the JSON is; all of the body where None.

    Raises:
        InvalidArgument: It is no such request.
    """
    if json_bytes is not None and json_bytes > len(body):
        raise InvalidArgument(f"the JSON is said to have {json_bytes} bytes, and the body has {len(body)}")
    text = memoryview(body)[:json_bytes]
    if len(text) > _MOST_JSON_BYTES:
        raise InvalidArgument(
            f"the JSON has {len(text)} bytes; expected at most {_MOST_JSON_BYTES}, and tensors as binary data"
        )
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is no JSON: {error.msg} at character {error.pos}") from None
    request = _object(said, "the request")
    inputs = _list(request.get("inputs"), "inputs")
    raw = _Raw(memoryview(body)[len(text) :])
    tensors = [_read_input(_object(each, "an input"), raw) for each in inputs]
    raw.check_spent()
    parameters = dict(_parameters(request, "the request"))
    binary = parameters.pop(BINARY_OUTPUT, False)
    if not isinstance(binary, bool):
        raise InvalidArgument(f"{BINARY_OUTPUT!r} is {str(binary)[:40]!r}; expected true or false")
    outputs = [
        _read_output(_object(each, "an output")) for each in _list(request.get("outputs", []), "outputs")
    ]
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


def write_answer(answer: InferAnswer, *, binary: bool, most_numbers: int) -> tuple[bytes, int | None]:
    """Write an answer; return its bytes, and how many of them are JSON where others follow.

    Args:
        answer: The answer.
        binary: Whether depth comes as bytes.
        most_numbers: So many may come as JSON.

    Raises:
        InvalidArgument: There are more.
    """
    output: dict[str, Any] = {"name": DEPTH.name, "datatype": DEPTH.datatype, "shape": answer.shape}
    response = {
        "model_name": answer.model,
        "model_version": answer.version,
        **({"id": answer.id} if answer.id else {}),
        "outputs": [output],
    }
    if binary:
        output["parameters"] = {BINARY_SIZE: len(answer.depth), **answer.parameters}
        head = orjson.dumps(response)
        return head + answer.depth, len(head)
    depth = answer.numbers(most_numbers, where="in JSON", instead=f"{BINARY_OUTPUT}: true")
    output["parameters"] = answer.parameters
    output["data"] = to_numbers(depth)
    return orjson.dumps(response), None


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


def _read_input(said: Mapping[str, Any], raw: _Raw) -> Tensor:
    name = _text(said.get("name"), "an input's name")
    datatype = known(name, said.get("datatype"))
    shape = _list(said.get("shape"), f"the shape of input {name!r}")
    parameters = dict(_parameters(said, f"input {name!r}"))
    is_raw = BINARY_SIZE in parameters
    size = parameters.pop(BINARY_SIZE, None)
    if parameters.pop(_CONTENT_TYPE, "base64") != "base64":
        raise InvalidArgument(f"input {name!r} has another {_CONTENT_TYPE!r} than base64")
    if parameters:
        raise InvalidArgument(
            f"input {name!r} has the parameter {next(iter(parameters))[:40]!r}; expected none"
        )
    if is_raw == ("data" in said):
        raise InvalidArgument(f"input {name!r}: expected either data or {BINARY_SIZE!r}")
    if is_raw:
        elements = from_raw(name, datatype, raw.take(name, size))
    else:
        elements = _read_data(name, datatype, said["data"])
    return tensor_of(name, datatype, shape, elements)


def _read_data(name: str, datatype: str, data: object) -> Elements:
    if datatype != "BYTES":
        return from_numbers(name, datatype, _list(data, f"the data of input {name!r}"))
    elements = []
    for text in _flat(_list(data, f"the data of input {name!r}")):
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
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidArgument(f"parameter {name[:40]!r} of {whose} is no text, number, true or false")
    return parameters


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is no JSON object; expected one")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidArgument(f"{what}: expected a JSON list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{what}: expected a JSON string")
    return value
