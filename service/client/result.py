"""What a caller gets: depth as numbers that need no further reading, and what is known of it.

It does not know how answers travel.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from service.answer import DepthAnswer, ModelState, ScaleSource, Unit
from service.client.errors import InvalidArgument, ServiceError, UnreadableAnswer
from service.request import Format, Intrinsics

Wire = Literal["float32", "float16", "uint16_mm", "png16", "png16_mm"]
"""How depth travels: exactly, in half the bytes, in whole millimetres, or as PNG (which needs Pillow)."""
Depth = npt.NDArray[np.float32]
FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthResult:
    """The depth of one picture."""

    depth: Depth
    """Along the optical axis, of (height, width), in `unit`; NaN where there is none."""
    unit: Unit
    """`metre`; or `relative`: right up to one unknown factor, and never to be read as metres."""
    minimum: float
    """Smallest and largest valid depth, in `unit`."""
    maximum: float
    invalid: npt.NDArray[np.bool_]
    """Where there is no depth."""
    intrinsics: Intrinsics | None
    """Of the depth map's own pixels (the first one's centre is at 0.5); None where no lens was given."""
    scale_source: ScaleSource
    """What the unit rests on."""
    model: str
    model_version: str
    request_id: str
    """Under which the service's log has it."""
    timings: Mapping[str, float]
    """Seconds spent in the service: `decode`, `queue`, `predict`, `encode` and `total`."""
    batch_size: int
    """How many pictures went through the network together with this one."""
    round_trip_s: float = 0.0
    """From asking to this result, with further attempts and waits; 0 in streams, where pictures overlap."""

    def points(self) -> Depth:
        """Return a point for each pixel, (height, width, 3): x right, y down, z forward, in `unit`.

        Raises:
            InvalidArgument: No lens was given.
        """
        if self.intrinsics is None:
            raise InvalidArgument("points need a lens; expected lens=FieldOfView(...) or Intrinsics(...)")
        known, (height, width) = self.intrinsics, self.depth.shape
        x = (np.arange(width) + 0.5 - known.cx_px) / known.fx_px
        y = (np.arange(height) + 0.5 - known.cy_px) / known.fy_px
        return np.stack([self.depth * x, self.depth * y[:, None], self.depth], axis=-1).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult(Generic[FrameT]):
    """What became of one frame of a stream."""

    index: int
    """Of the frame among those that were sent, from 0."""
    frame: FrameT
    """The very object that the source gave."""
    result: DepthResult | None = None
    error: ServiceError | None = None
    """Why there is no depth; the frames after it are answered all the same."""
    skipped: int = 0
    """How many frames gave their place to this one, where only the latest counts."""
    smoothing_factor: float = 1.0
    """What scale smoothing multiplied the depth by."""

    def unwrap(self) -> DepthResult:
        """Return the result.

        Raises:
            ServiceError: There is none, and why.
        """
        if self.result is None:
            raise self.error or UnreadableAnswer("a frame has neither depth nor an error")
        return self.result


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """One version of a model that can be asked for."""

    name: str
    version: str
    state: ModelState
    default: bool
    """Whether it answers those who name no model."""
    current: bool
    """Whether it answers those who name no version."""
    unit: Unit
    """Of its depth, without an anchor."""
    height: int
    """The size in pixels at which it sees pictures."""
    width: int
    min_depth: float
    """The nearest and farthest depth that it can answer, in `unit`."""
    max_depth: float
    backend: str
    problem: str | None
    """Why it failed to load."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a frame, as it came from the wire."""

    index: int
    answer: DepthAnswer | None = None
    error: ServiceError | None = None
    smoothing_factor: float = field(default=1.0)


def result_of(answer: DepthAnswer, *, round_trip_s: float = 0.0) -> DepthResult:
    """Read a depth map, and apply its scale.

    Raises:
        UnreadableAnswer: Its bytes are not what the answer says of them.
    """
    stored = _stored(answer)
    depth = stored.astype(np.float32) * np.float32(answer.scale)
    invalid = ~np.isfinite(depth)
    if answer.invalid != "none":
        invalid |= stored == float(answer.invalid)
    depth[invalid] = np.nan
    return DepthResult(
        depth=depth,
        unit=answer.unit,
        minimum=answer.minimum,
        maximum=answer.maximum,
        invalid=invalid,
        intrinsics=answer.intrinsics,
        scale_source=answer.scale_source,
        model=answer.model,
        model_version=answer.model_version,
        request_id=answer.request_id,
        timings=answer.timings,
        batch_size=answer.batch_size,
        round_trip_s=round_trip_s,
    )


def _stored(answer: DepthAnswer) -> npt.NDArray[Any]:
    shape = (answer.height, answer.width)
    try:
        if answer.format in (Format.PNG16, Format.PNG16_MM):
            stored = _read_png(answer.body)
        else:
            stored = np.frombuffer(answer.body, np.dtype(answer.dtype)).reshape(shape)
    except (ValueError, TypeError, OSError) as error:
        raise UnreadableAnswer(
            f"{len(answer.body)} bytes of {answer.format} are no map of {answer.width}x{answer.height}"
        ) from error
    if stored.shape != shape:
        raise UnreadableAnswer(f"a map has the shape {stored.shape}; its answer says {shape}")
    return stored


def _read_png(body: bytes) -> npt.NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidArgument("PNG answers need Pillow; expected it by pip install pillow") from error
    with Image.open(io.BytesIO(body)) as picture:
        return np.asarray(picture)
