"""Photographs to files of depth, each for itself: one that cannot be read takes nothing from the others."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from model.view import predict_by_shape
from service.backends import Backend
from service.codec import DecodedImage, decode_image, encode_depth, held_range
from service.codec.encode import EncodeOptions, invalid_value
from service.contract.basis import facts
from service.contract.errors import InvalidArgument, ServiceError
from service.contract.request import Colour, Format
from service.predict.inputs import Input
from service.predict.outputs import Failed, Outputs, Stored, Written
from service.predict.overlap import overlapped
from service.predict.scene import Known

MAX_PIXELS = 1 << 28
"""More than any phone has; with a byte a colour they take 800 MB."""


@dataclass(frozen=True, kw_only=True)
class _Photograph:
    input: Input
    image: DecodedImage


def predict_photographs(
    photographs: Sequence[Input],
    backend: Backend,
    known: Known,
    colour: Colour,
    outputs: Outputs,
    *,
    threads: int,
) -> Generator[Written | Failed, None, None]:
    """Write what was asked for of each photograph, and yield what became of it, in their order."""
    prepare = partial(_decode, known=known, keep_rgb=outputs.need_photographs)
    answers = overlapped(
        (partial(prepare, photograph) for photograph in photographs),
        lambda batch: predict_by_shape([one.image.seen for one in batch], backend.predict),
        partial(_finish, known=known, colour=colour, outputs=outputs),
        batch=backend.max_batch,
        preparers=threads,
        finishers=threads,
    )
    with closing(answers):
        for photograph, answer in zip(photographs, answers, strict=True):
            try:
                yield answer.result()
            # ValueError: depth that is not positive and finite, as a damaged network gives it.
            except (ServiceError, OSError, ValueError) as error:
                yield Failed(input=str(photograph.path), error=reason(error))


def reason(error: Exception) -> str:
    """Return an error's words without the path of the input, beside which they stand."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return str(error)


def write_depth(
    depth: Float32[np.ndarray, "height width"],
    stem: Path,
    options: EncodeOptions,
    outputs: Outputs,
) -> dict[str, Stored]:
    """Write a depth map in each format that was asked for; a stem is a path below the output folder."""
    files = {}
    for kind in outputs.formats:
        path = outputs.path(stem, kind.spec.suffix)
        outputs.write(path, encode_depth(depth, kind, options))
        files[str(kind)] = stored(kind, path, depth)
    return files


def stored(kind: Format, path: Path, depth: Float32[np.ndarray, "height width"]) -> Stored:
    """Say how a file of this depth is read."""
    if kind.spec.content != "depth":
        return Stored(path=str(path))
    return Stored(path=str(path), scale=kind.spec.scale, invalid=invalid_value(depth, kind))


def _decode(photograph: Input, *, known: Known, keep_rgb: bool) -> _Photograph:
    height, width = known.view.usual_size
    image = decode_image(
        photograph.path.read_bytes(),
        height=height,
        width=width,
        max_pixels=MAX_PIXELS,
        keep_rgb=keep_rgb,
        scaled=False,  # as the Predictor sees it, rather than a little quicker
        camera=known.knowledge.camera,
        view=None if known.view.fractions else known.view,
    )
    image = replace(image, known=known.points_of(photograph.path, image, MAX_PIXELS))
    return _Photograph(input=photograph, image=image)


def _finish(
    photograph: _Photograph,
    output: Any,
    *,
    known: Known,
    colour: Colour,
    outputs: Outputs,
) -> Written:
    image = photograph.image
    size = image.height, image.width
    measured = known.observe(image, output, size).measure(*size)
    depth, scale = measured.depth, measured.scale
    minimum, maximum = held_range(depth, Format.NPY)
    if measured.lens is None and outputs.need_photographs:
        raise InvalidArgument("a point cloud needs a lens; expected --fov-deg, --intrinsics or --camera")
    options = EncodeOptions(
        unit=scale.unit,
        colour=colour,
        intrinsics=measured.lens,
        rgb=image.rgb,
        scale=scale,
        surfaces=outputs.surfaces(image.pixels.shape[:2], measured.farthest),
        ply_max_pixels=MAX_PIXELS,
    )
    return Written(
        input=str(photograph.input.path),
        height=image.height,
        width=image.width,
        unit=scale.unit,
        scale_source=scale.source,
        network_scale=scale.factor,
        minimum=minimum,
        maximum=maximum,
        basis=facts(scale.basis) or None,
        notice="; ".join(filter(None, (image.notice, measured.notice))) or None,
        files=write_depth(depth, photograph.input.stem, options, outputs),
    )
