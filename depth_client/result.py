"""What a caller gets: depth as numbers that need no further reading, and what is known of it."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from depth_client.contract import (
    DepthAnswer,
    Distances,
    Format,
    Ground,
    Intrinsics,
    KnownFit,
    ModelState,
    Rectified,
    ScaleSource,
    Unit,
)
from depth_client.errors import InvalidArgument, ServiceError, UnreadableAnswer

Wire = Format | str
"""How depth travels: a format that holds depth. `float32` is exact, `float16` has half the bytes."""
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
    fy_per_height: float | None = None
    """The lens that the metres hold for; None where they rest on the scene, or no lens is noted."""
    uncertainty: float | None = None
    """How well the metres are known, as a share of them; None where nobody measured it."""
    rectified: Rectified = "none"
    """For a camera with distortion: whether the map is of the straight picture."""
    fit: KnownFit | None = None
    """How well known points agree with the map."""
    ground: Ground | None = None
    """The camera's height and pitch, where ground was looked for."""
    notice: str = ""
    """What is odd about the picture, in a sentence; empty where nothing is."""
    licence: str = ""
    """Of the model's weights; empty where none is stated."""
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


@dataclass(frozen=True, kw_only=True)
class DistancesResult:
    """Distances to places in one picture."""

    distances: Distances
    """In `unit`, for each point, box and polygon in the order in which they were asked for."""
    unit: Unit
    scale_source: ScaleSource
    """What the unit rests on."""
    fy_per_height: float | None
    """As a `DepthResult` has it; likewise what follows."""
    uncertainty: float | None
    model: str
    model_version: str
    request_id: str
    timings: Mapping[str, float]
    notice: str = ""
    round_trip_s: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult(Generic[FrameT]):
    """What became of one frame of a stream."""

    index: int
    """Of the frame among those that were sent, from 0."""
    frame: FrameT
    """The very object that the source gave."""
    result: DepthResult | None = None
    distances: DistancesResult | None = None
    """In place of a map, where there were regions of the frame."""
    error: ServiceError | None = None
    """Why there is no depth; the frames after it are answered all the same."""
    skipped: int = 0
    """How many frames gave their place to this one, where only the latest counts."""

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
    """Whether it serves requests that name no model."""
    current: bool
    """Whether it serves requests that name no version."""
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
    affine: bool = False
    """Whether its depth's inverse is known up to a factor and a shift: two known points make metres."""
    licence: str = ""
    """Of its weights; empty where none is stated."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a frame, as it came from the wire."""

    index: int
    answer: DepthAnswer | None = None
    error: ServiceError | None = None


def result_of(answer: DepthAnswer, *, round_trip_s: float = 0.0) -> DepthResult:
    """Read a depth map, and apply its scale.

    Raises:
        UnreadableAnswer: Its bytes are not what the answer says of them.
    """
    stored = _stored(answer)
    depth = stored.astype(np.float32) * np.float32(answer.scale)
    invalid = ~np.isfinite(depth)
    if answer.invalid not in ("none", "null"):  # JSON's null is NaN already
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
        fy_per_height=answer.fy_per_height,
        uncertainty=answer.uncertainty,
        rectified=answer.rectified,
        fit=answer.fit,
        ground=answer.ground,
        notice=answer.notice,
        licence=answer.licence,
        round_trip_s=round_trip_s,
    )


def distances_result(answer: DepthAnswer, *, round_trip_s: float = 0.0) -> DistancesResult:
    """Read distances.

    Raises:
        UnreadableAnswer: The answer has none.
    """
    if answer.distances is None:
        raise UnreadableAnswer("an answer has no distances, which were asked for")
    return DistancesResult(
        distances=answer.distances,
        unit=answer.unit,
        scale_source=answer.scale_source,
        fy_per_height=answer.fy_per_height,
        uncertainty=answer.uncertainty,
        model=answer.model,
        model_version=answer.model_version,
        request_id=answer.request_id,
        timings=answer.timings,
        notice=answer.notice,
        round_trip_s=round_trip_s,
    )


def wire_format(wire: Wire) -> Format:
    """Return the format in which depth travels.

    Raises:
        InvalidArgument: There is none of that name, or its values are no depth.
    """
    known = [format_ for format_ in Format if format_.spec.content == "depth"]
    if wire not in known:
        raise InvalidArgument(f"wire is {wire!r}; expected one of {', '.join(known)}")
    return Format(wire)


def _stored(answer: DepthAnswer) -> npt.NDArray[Any]:
    shape = (answer.height, answer.width)
    try:
        stored = _READERS[answer.format.spec.container](answer)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UnreadableAnswer(
            f"{len(answer.body)} bytes of {answer.format} are no map of {answer.width}x{answer.height}"
        ) from error
    except ImportError as error:
        raise InvalidArgument(
            f"{answer.format} needs the package {error.name}; expected it by pip install, or another format"
        ) from error
    if stored.shape != shape:
        raise UnreadableAnswer(f"a map has the shape {stored.shape}; its answer says {shape}")
    return stored


def _read_png(answer: DepthAnswer) -> npt.NDArray[Any]:
    from PIL import Image

    with Image.open(io.BytesIO(answer.body)) as picture:
        return np.asarray(picture)


def _read_jxl(answer: DepthAnswer) -> npt.NDArray[Any]:
    import imagecodecs

    try:
        return np.asarray(imagecodecs.jpegxl_decode(answer.body))
    except RuntimeError as error:  # the base of what it raises
        raise ValueError(str(error)) from error


def _read_json(answer: DepthAnswer) -> npt.NDArray[Any]:
    return np.asarray(json.loads(answer.body)["depth"], np.dtype(answer.dtype))


_READERS: Mapping[str, Callable[[DepthAnswer], npt.NDArray[Any]]] = {
    "png": _read_png,
    "jxl": _read_jxl,
    "npy": lambda answer: np.load(io.BytesIO(answer.body), allow_pickle=False),
    "raw": lambda answer: np.frombuffer(answer.body, answer.dtype).reshape(answer.height, answer.width),
    "json": _read_json,
}
"""By container."""
