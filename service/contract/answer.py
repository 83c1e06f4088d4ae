"""What a caller is answered, whichever transport they came through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from .basis import Ground, KnownFit, Rectified
from .formats import Format
from .regions import Distances
from .request import Intrinsics

Unit = Literal["metre", "relative"]
ScaleSource = Literal[
    "checkpoint", "checkpoint+lens", "exif", "camera-height", "known-distance", "known-points", "none"
]
"""What made the unit so; `none` where depth is relative. `checkpoint`: as through the lens that training saw;
`checkpoint+lens`: for the lens of the caller or of their named camera; `exif`: for the photograph's own."""
ModelState = Literal["loading", "ready", "rebuilding", "draining", "failed"]


class Header(NamedTuple):
    """Of HTTP, by which a field of an answer travels."""

    name: str
    text: str
    """For the OpenAPI document."""
    digits: int | None = None
    """Of a number; all that it has where None."""


@dataclass(frozen=True, kw_only=True)
class DepthAnswer:
    """A depth map in bytes, and everything that is needed to read it: `wire` writes and reads each field."""

    body: bytes
    media_type: str
    format: Annotated[Format, Header("X-Depth-Format", "Of the body.")]
    width: Annotated[int, Header("X-Depth-Width", "Of the map, in pixels.")]
    height: Annotated[int, Header("X-Depth-Height", "Of the map, in pixels.")]
    dtype: Annotated[str, Header("X-Depth-Dtype", "Of the stored values, as NumPy names them.")]
    scale: Annotated[float, Header("X-Depth-Scale", "Stored value x scale = depth.")]
    """In :attr:`unit`."""
    scale_source: Annotated[
        ScaleSource,
        Header(
            "X-Depth-Scale-Source",
            "What the unit rests on: checkpoint, checkpoint+lens, exif, camera-height, known-distance, "
            "known-points, none.",
        ),
    ]
    unit: Annotated[Unit, Header("X-Depth-Unit", "metre or relative.")]
    minimum: Annotated[float, Header("X-Depth-Min", "Smallest valid depth.", 6)]
    """In :attr:`unit`, like :attr:`maximum`."""
    maximum: Annotated[float, Header("X-Depth-Max", "Largest valid depth.", 6)]
    invalid: Annotated[
        str,
        Header(
            "X-Depth-Invalid",
            "The stored value that means no depth; none where every pixel has one.",
        ),
    ]
    intrinsics: Annotated[
        Intrinsics | None,
        Header("X-Depth-Intrinsics", "fx fy cx cy of the map's own pixels, as options have them; or none."),
    ] = None
    """None where no lens is known, and where the map is of a raw picture."""
    fy_per_height: Annotated[
        float | None,
        Header("X-Depth-Fy-Per-Height", "The lens that the metres hold for: fy over height; or none.", 6),
    ] = None
    """None where they rest on what the caller knows of the scene, or the checkpoint notes no lens."""
    uncertainty: Annotated[
        float | None,
        Header("X-Depth-Uncertainty", "One standard error of the metres' scale, as a share; or none.", 3),
    ] = None
    """None where the metres are the checkpoint's own: nobody measured it then."""
    rectified: Annotated[
        Rectified,
        Header("X-Depth-Rectified", "Whether a camera's distortion was taken out: yes, no; none without."),
    ] = "none"
    fit: Annotated[
        KnownFit | None,
        Header("X-Depth-Fit", "Of known points: points, agreeing, residual, shift; or none."),
    ] = None
    ground: Annotated[
        Ground | None,
        Header("X-Depth-Ground", "Where it was looked for: height, pitch_deg, share, error; or none."),
    ] = None
    distances: Distances | None = None
    """To the regions of the request."""
    model: Annotated[str, Header("X-Depth-Model", "Which model answered.")]
    model_version: Annotated[str, Header("X-Depth-Model-Version", "Which version of it.")]
    licence: Annotated[
        str, Header("X-Depth-Licence", "Of the model's weights; absent where none is stated.")
    ] = ""
    """Empty where none is stated."""
    batch_size: Annotated[int, Header("X-Depth-Batch-Size", "How many images the network saw together.")] = 1
    """This one included."""
    notice: Annotated[
        str, Header("X-Depth-Notice", "What is odd about the photograph; absent where nothing is.")
    ] = ""
    """In a sentence; empty where nothing is."""
    request_id: Annotated[
        str,
        Header("X-Request-Id", "The request's own, or one made up for it; the log has it too."),
    ]
    timings: Annotated[
        Mapping[str, float],
        Header("Server-Timing", "Milliseconds of decode, queue, predict, encode and in total."),
    ] = field(default_factory=dict)
    """Seconds spent in `decode`, `queue`, `predict`, `encode` and in `total`."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One version of a model, as callers may know it."""

    name: str
    version: str
    state: ModelState
    default: bool
    """Whether it answers requests that name no model."""
    current: bool
    """Whether it answers requests that name no version."""
    unit: Unit
    """Of its depth, without an anchor."""
    height: int
    """The size in pixels at which it sees images; photographs of four to three where that varies."""
    width: int
    min_depth: float
    """The nearest and farthest depth that it can answer, in :attr:`unit`; zeros where nobody knows."""
    max_depth: float
    backend: str
    """What runs it, in words."""
    max_batch: int
    statistics: "ModelStatistics"
    affine: bool = False
    """Whether the inverse of relative depth is known up to a factor and a shift, rather than a factor."""
    licence: str = ""
    """Of its weights; empty where none is stated."""
    problem: str | None = None
    """Why it failed to load, in words that name no internals."""


@dataclass(frozen=True, kw_only=True)
class NotServed:
    """A file in the folder of models that is not served."""

    file: str
    """Below the folder."""
    reason: str
    """In a sentence, with what was expected."""


@dataclass(frozen=True, kw_only=True)
class ModelStatistics:
    """What a version of a model has done since it was loaded."""

    images: int = 0
    """Answered."""
    calls: int = 0
    """Whose images were all answered; with one image each, as many."""
    failed: int = 0
    """Calls that were not."""
    batches: int = 0
    queue_s: float = 0.0
    """Summed over calls that were answered, as are the next four: each call's is its slowest image's."""
    decode_s: float = 0.0
    network_s: float = 0.0
    """Each image's is its whole batch's: that is how long its sender waited."""
    encode_s: float = 0.0
    total_s: float = 0.0
    failed_s: float = 0.0
    """Summed over calls that failed."""
    predict_s: float = 0.0
    """Summed over batches."""
    batch_sizes: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    """How often batches of each size ran, and for how many seconds together."""
    last_used_s: float = 0.0
    """The Unix time of the last batch."""
