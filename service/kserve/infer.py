"""One inference request, whichever way it came: tensors in, images through the engine, a tensor out.

It does not know JSON or protobuf.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from service.answer import DepthAnswer
from service.auth import current_caller
from service.budget import Share
from service.doors import Doors
from service.errors import InvalidArgument
from service.kserve.contract import DEPTH, ENCODED, INPUTS, UNIT_PIXELS, TensorSpec
from service.kserve.parameters import Scalar, read_parameters
from service.kserve.tensors import Tensor
from service.logs import current_request_id
from service.request import DepthRequest

BINARY_DATA = "binary_data"
"""The one parameter that an output may have: whether its bytes come raw."""


@dataclass(frozen=True, kw_only=True)
class RequestedOutput:
    """An output that the request names."""

    name: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InferCall:
    """A request, read."""

    model: str
    version: str = ""
    """The current one where empty."""
    id: str = ""
    """Comes back in the answer."""
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    inputs: Sequence[Tensor]
    outputs: Sequence[RequestedOutput] = ()
    """Every output where empty."""

    def binary_output(self, *, default: bool) -> bool:
        """Return whether the answer's bytes are to come raw.

        Raises:
            InvalidArgument: An output is unknown, or has a parameter that is.
        """
        binary = default
        for output in self.outputs:
            if output.name != DEPTH.name:
                raise InvalidArgument(f"there is no output {output.name[:40]!r}; expected {DEPTH.name!r}")
            for name, value in output.parameters.items():
                if name != BINARY_DATA or not isinstance(value, bool):
                    raise InvalidArgument(
                        f"output {output.name!r} has the parameter {name[:40]!r}: {str(value)[:40]!r}; "
                        f"expected none, or {BINARY_DATA!r} with true or false"
                    )
                binary = value
        return binary


@dataclass(frozen=True, kw_only=True)
class InferAnswer:
    """Depth of every image of a request."""

    model: str
    version: str
    id: str
    shape: tuple[int, int, int]
    """Images, rows, columns."""
    depth: bytes
    """Little-endian float32, row by row."""
    parameters: Mapping[str, Scalar]
    """What is needed to read it: its unit, what that rests on, and its range."""

    def numbers(self, most: int, *, where: str, instead: str) -> Float32[np.ndarray, " numbers"]:
        """Return the depth to be written number by number, while nobody else is served.

        Args:
            most: So many may be.
            where: They are written.
            instead: What to ask for where there are more.

        Raises:
            InvalidArgument: There are more.
        """
        numbers = np.frombuffer(self.depth, "<f4")
        if numbers.size > most:
            raise InvalidArgument(
                f"{numbers.size} numbers are more than the {most} allowed {where}; expected the parameter "
                f"size: model, or {instead}"
            )
        return numbers


async def infer(doors: Doors, call: InferCall, held: Share, *, door: str, deadline_s: float) -> InferAnswer:
    """Answer a request: all of its images, or none.

    Args:
        doors: Lead to the engine.
        call: The request.
        held: Of the bytes that answers may have.
        door: Through which it came, for metrics.
        deadline_s: The instant of ``time.monotonic`` that the request's own timeout can only bring nearer.

    Raises:
        ServiceError: There is no answer; the class says why.
    """
    wish = read_parameters(call.parameters)
    if wish.timeout_s is not None:
        deadline_s = min(deadline_s, doors.deadline_s(wish.timeout_s))
    images = await _images(call.inputs, doors.settings.max_images_per_call)
    current_caller.get().charge(len(images))
    wanted = DepthRequest(
        image=b"",
        deadline_s=deadline_s,
        door=door,
        **{**wish.fields, "model": call.model or None, "version": call.version or None},
    )
    request_id = current_request_id.get() or ""
    requests = [
        replace(wanted, image=image, request_id=f"{request_id}/{place}") for place, image in enumerate(images)
    ]
    return _answer(call, await _all_or_none(doors, requests, held))


async def _all_or_none(doors: Doors, requests: Sequence[DepthRequest], held: Share) -> Sequence[DepthAnswer]:
    tasks = [asyncio.ensure_future(doors.answer(request, held)) for request in requests]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _answer(call: InferCall, answers: Sequence[DepthAnswer]) -> InferAnswer:
    first = answers[0]
    sizes = {(answer.height, answer.width) for answer in answers}
    if len(sizes) > 1:
        said = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:4])
        raise InvalidArgument(
            f"the images are of sizes {said}, which no tensor holds together; expected one size, "
            "or the parameter size: model"
        )
    return InferAnswer(
        model=first.model,
        version=first.model_version,
        id=call.id,
        shape=(len(answers), first.height, first.width),
        depth=first.body if len(answers) == 1 else b"".join(answer.body for answer in answers),
        parameters={
            "unit": first.unit,
            "scale_source": first.scale_source,
            "minimum": min(answer.minimum for answer in answers),
            "maximum": max(answer.maximum for answer in answers),
        },
    )


async def _images(inputs: Sequence[Tensor], most: int) -> Sequence[bytes | np.ndarray]:
    """Return the photographs that a request brings."""
    expected = " or ".join(f"{spec.name} ({spec.datatype})" for spec in INPUTS)
    if len(inputs) != 1:
        raise InvalidArgument(f"the request has {len(inputs)} inputs; expected one: {expected}")
    tensor = inputs[0]
    spec = next((spec for spec in INPUTS if spec.name == tensor.name), None)
    if spec is None:
        raise InvalidArgument(f"there is no input {tensor.name[:40]!r}; expected {expected}")
    if tensor.datatype != spec.datatype:
        raise InvalidArgument(f"input {spec.name!r} is of {tensor.datatype}; expected {spec.datatype}")
    _check_shape(spec, tensor.shape)
    if tensor.shape[0] > most:
        raise InvalidArgument(f"the request has {tensor.shape[0]} images; expected at most {most}")
    if not isinstance(tensor.elements, np.ndarray):
        if not all(tensor.elements):
            raise InvalidArgument("an image is empty; expected the bytes of a JPEG, PNG or WebP file")
        return tensor.elements
    pixels = tensor.elements.reshape(tensor.shape)
    if spec is UNIT_PIXELS:
        pixels = await asyncio.to_thread(_to_uint8, pixels)
    return list(pixels)


def _check_shape(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    if spec is ENCODED:
        if shape[1:] not in ((), (1,)):
            raise InvalidArgument(f"input {spec.name!r} has shape {list(shape)}; expected [n] or [n, 1]")
    elif len(shape) != 4 or shape[3] != 3:
        advice = ""
        if len(shape) == 4 and shape[1] == 3:
            advice = "; these are planes (NCHW), so move the colours last"
        elif len(shape) == 3 and shape[2] == 3:
            advice = "; this is one image without its batch, so add a leading 1"
        raise InvalidArgument(
            f"input {spec.name!r} has shape {list(shape)}; expected [n, height, width, 3] (NHWC){advice}"
        )


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    least, most = float(pixels.min()), float(pixels.max())
    if not 0 <= least <= most <= 1:  # false for NaN, too
        raise InvalidArgument(
            f"input {UNIT_PIXELS.name!r} goes from {least:g} to {most:g}; expected colours from 0 to 1, "
            f"or {INPUTS[1].name!r} for 0 to 255"
        )
    return np.rint(pixels * np.float32(255)).astype(np.uint8)
