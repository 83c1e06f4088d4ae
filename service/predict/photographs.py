"""Photographs to files of depth, each for itself: one that cannot be read takes nothing from the others.

It does not know videos or command lines.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from model.images import disparity_to_depth_map
from service.backends import Backend
from service.codec import DecodedImage, EncodedDepth, decode_image, encode_depth
from service.codec.encode import EncodeOptions
from service.errors import ServiceError
from service.predict.inputs import Input
from service.predict.outputs import ENDINGS, Failed, Outputs, Stored, Written
from service.predict.overlap import overlapped
from service.predict.scene import Scene
from service.request import Colour, Format

MAX_PIXELS = 178_956_970
"""As many as Pillow opens at all."""

_PLAIN = (Format.COLOR, Format.PLY)
"""Formats whose values are no depth to be scaled."""


@dataclass(frozen=True, kw_only=True)
class _Photograph:
    input: Input
    image: DecodedImage


def predict_photographs(
    photographs: Sequence[Input],
    backend: Backend,
    scene: Scene,
    colour: Colour,
    outputs: Outputs,
    *,
    threads: int,
) -> Generator[Written | Failed, None, None]:
    """Write what was asked for of each photograph, and yield what became of it, in their order."""
    prepare = partial(_decode, backend=backend, keep_rgb=Format.PLY in outputs.formats)
    answers = overlapped(
        (partial(prepare, photograph) for photograph in photographs),
        lambda batch: backend.predict(np.stack([one.image.pixels for one in batch])),
        partial(_finish, scene=scene, colour=colour, outputs=outputs),
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
        encoded = encode_depth(depth, kind, options)
        path = outputs.path(stem, ENDINGS[kind])
        outputs.write(path, encoded.body)
        files[str(kind)] = stored(kind, path, encoded)
    return files


def stored(kind: Format, path: Path, encoded: EncodedDepth) -> Stored:
    """Say how a file, or a folder of such files, is read."""
    if kind in _PLAIN:
        return Stored(path=str(path))
    return Stored(path=str(path), scale=encoded.scale, invalid=encoded.invalid)


def _decode(photograph: Input, *, backend: Backend, keep_rgb: bool) -> _Photograph:
    image = decode_image(
        photograph.path.read_bytes(),
        height=backend.height,
        width=backend.width,
        max_pixels=MAX_PIXELS,
        keep_rgb=keep_rgb,
        scaled=False,  # as the Predictor sees it, rather than a little quicker
    )
    return _Photograph(input=photograph, image=image)


def _finish(
    photograph: _Photograph,
    disparity: Float32[np.ndarray, "rows columns"],
    *,
    scene: Scene,
    colour: Colour,
    outputs: Outputs,
) -> Written:
    image = photograph.image
    scale = scene.scale_of(disparity, image.height, image.width)
    depth = disparity_to_depth_map(disparity, image.height, image.width, scale.factor)
    options = EncodeOptions(
        unit=scale.unit,
        colour=colour,
        intrinsics=scene.intrinsics(image.height, image.width, of=(image.height, image.width)),
        rgb=image.rgb,
        ply_max_pixels=MAX_PIXELS,
    )
    return Written(
        input=str(photograph.input.path),
        height=image.height,
        width=image.width,
        unit=scale.unit,
        scale_source=scale.source,
        scale=scale.factor,
        minimum=float(depth.min()),
        maximum=float(depth.max()),
        files=write_depth(depth, photograph.input.stem, options, outputs),
    )
