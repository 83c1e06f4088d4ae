"""One inference request, whichever way it came: tensors in, images through the engine, a tensor out."""

import asyncio
import json
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from service.contract.answer import DepthAnswer
from service.contract.basis import facts
from service.contract.errors import InvalidArgument, UnknownModel
from service.contract.request import DepthRequest
from service.kserve.contract import DEPTH, ENCODED, INPUTS, UNIT_PIXELS, UNKNOWN_MODEL, TensorSpec
from service.kserve.parameters import InferParameters, Scalar, read_parameters
from service.kserve.tensors import (
    CONTENT_TYPE,
    SHARED,
    SharedTensor,
    Tensor,
    from_raw,
    shared_place,
    tensor_of,
)
from service.scheduling.budget import Share
from service.telemetry.calls import one_call
from service.telemetry.logs import current_request_id
from service.transports.auth import current_caller
from service.transports.frontend import Frontend
from service.transports.shared_memory import Place

BINARY_DATA = "binary_data"
"""The one parameter that an output may have: whether its bytes come raw."""


_EXPECTED = " or ".join(f"{spec.name} ({spec.datatype})" for spec in INPUTS)
_MOST_OUTPUTS = 8
_MOST_PARAMETERS = 32


def check_counts(inputs: Sized, outputs: Sized) -> None:
    """Compare how many inputs and outputs a request has, before any of them is read.

    Raises:
        InvalidArgument: It is not one input, or there are too many outputs.
    """
    if len(inputs) != 1:
        raise InvalidArgument(f"the request has {len(inputs)} inputs; expected one: {_EXPECTED}")
    if len(outputs) > _MOST_OUTPUTS:
        raise InvalidArgument(f"the request names {len(outputs)} outputs; expected at most {_MOST_OUTPUTS}")


def check_parameters(parameters: Sized, whose: str) -> None:
    """Likewise, of parameters."""
    if len(parameters) > _MOST_PARAMETERS:
        raise InvalidArgument(
            f"{whose} has {len(parameters)} parameters; expected at most {_MOST_PARAMETERS}"
        )


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
    inputs: Sequence[Tensor | SharedTensor]
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
                if name == CONTENT_TYPE or name in SHARED:
                    continue
                if name != BINARY_DATA or not isinstance(value, bool):
                    raise InvalidArgument(
                        f"output {output.name!r} has the parameter {name[:40]!r}: {str(value)[:40]!r}; "
                        f"expected none, or {BINARY_DATA!r} with true or false"
                    )
                binary = value
        return binary

    def output_place(self) -> Place | None:
        """Return where in shared memory the depth is to be written; None where it is to be sent.

        Raises:
            InvalidArgument: The place is not said whole.
        """
        for output in self.outputs:
            place, _ = shared_place(f"output {output.name!r}", output.parameters)
            if place is not None:
                return place
        return None


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
    place: Place | None = None
    """Where in shared memory the depth has been written; None where it is sent."""

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


async def infer(
    frontend: Frontend, call: InferCall, held: Share, *, transport: str, deadline_s: float
) -> InferAnswer:
    """Handle a request: all of its images, or none.

    Args:
        frontend: Lead to the engine.
        call: The request.
        held: Of the bytes that answers may have.
        transport: Through which it came, for metrics.
        deadline_s: The instant of the service's clock that the request's own timeout can only bring nearer.

    Raises:
        ServiceError: There is no answer; the class says why.
    """
    wanted = read_parameters(call.parameters)
    if wanted.timeout_s is not None:
        deadline_s = min(deadline_s, frontend.deadline_s(wanted.timeout_s))
    place = call.output_place()
    with frontend.body_share(transport) as share:
        return await _infer(
            frontend, call, wanted, held, share, place, transport=transport, deadline_s=deadline_s
        )


async def _infer(
    frontend: Frontend,
    call: InferCall,
    wanted: InferParameters,
    held: Share,
    share: Share,
    place: Place | None,
    *,
    transport: str,
    deadline_s: float,
) -> InferAnswer:
    tensor = await _present(frontend, call.inputs[0], share)
    images = await _images(tensor, frontend.settings.max_images_per_call)
    if wanted.sparse_depth is not None and len(images) != 1:
        raise InvalidArgument(f"sparse_depth is given with {len(images)} images; expected one image")
    current_caller.get().charge(len(images))
    request = DepthRequest(
        image=b"",
        deadline_s=deadline_s,
        transport=transport,
        **{**wanted.request_fields(), "model": call.model or None, "version": call.version or None},
    )
    request_id = current_request_id.get() or ""
    requests = [
        replace(request, image=image, request_id=f"{request_id}/{place}")
        for place, image in enumerate(images)
    ]
    with one_call(frontend.metrics):
        try:
            answers = await _all_or_none(frontend, requests, held)
        except UnknownModel as error:
            raise UnknownModel(f"{UNKNOWN_MODEL}: {error.message}") from None
    answer = _answer(call, answers)
    if place is None:
        return answer
    await asyncio.to_thread(frontend.regions.write, owner(), place, answer.depth)
    return replace(answer, depth=b"", place=replace(place, byte_size=len(answer.depth)))


async def _present(frontend: Frontend, tensor: Tensor | SharedTensor, share: Share) -> Tensor:
    """Read an input out of shared memory, where it lies there."""
    if isinstance(tensor, Tensor):
        return tensor
    settings = frontend.settings
    if tensor.place.byte_size > settings.max_body_bytes:
        raise InvalidArgument(
            f"input {tensor.name!r} has {tensor.place.byte_size} bytes of shared memory; expected at most "
            f"{settings.max_body_bytes} (DEPTH_MAX_BODY_BYTES)"
        )
    share.take(tensor.place.byte_size)
    raw = await asyncio.to_thread(frontend.regions.read, owner(), tensor.place)
    elements = from_raw(tensor.name, tensor.datatype, raw, most_images=settings.max_images_per_call)
    return tensor_of(tensor.name, tensor.datatype, tensor.shape, elements)


def owner() -> str:
    """Return whose regions of shared memory the current request may name."""
    return current_caller.get().name or ""


async def _all_or_none(
    frontend: Frontend, requests: Sequence[DepthRequest], held: Share
) -> Sequence[DepthAnswer]:
    tasks = [asyncio.ensure_future(frontend.answer(request, held)) for request in requests]
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
    notice = next((answer.notice for answer in answers if answer.notice), "")
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
            **({"notice": notice} if notice else {}),
            **facts(first),
            **_distances(answers),
        },
    )


def _distances(answers: Sequence[DepthAnswer]) -> Mapping[str, Scalar]:
    """Return the distances to the request's regions, a JSON object an image, as one text."""
    found = [answer.distances.to_json() for answer in answers if answer.distances is not None]
    return {"distances": json.dumps(found, separators=(",", ":"))} if found else {}


async def _images(tensor: Tensor, most: int) -> Sequence[bytes | np.ndarray]:
    """Return the photographs that a request brings."""
    spec = next((spec for spec in INPUTS if spec.name == tensor.name), None)
    if spec is None:
        raise InvalidArgument(f"there is no input {tensor.name[:40]!r}; expected {_EXPECTED}")
    if tensor.datatype != spec.datatype:
        raise InvalidArgument(f"input {spec.name!r} is of {tensor.datatype}; expected {spec.datatype}")
    _check_shape(spec, tensor.shape)
    if tensor.shape[0] > most:
        raise InvalidArgument(f"the request has {tensor.shape[0]} images; expected at most {most}")
    if not isinstance(tensor.elements, np.ndarray):
        if not all(tensor.elements):
            raise InvalidArgument("an image is empty; expected the bytes of a JPEG, PNG, WebP or AVIF file")
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
