"""What a caller is answered, whichever door he came through.

It does not know how answers travel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from service.request import Format, Intrinsics

Unit = Literal["metre", "relative"]
ScaleSource = Literal["checkpoint", "camera-height", "known-distance", "none"]
"""What made the unit so; `none` where depth is relative."""
ModelState = Literal["loading", "ready", "rebuilding", "draining", "failed"]


@dataclass(frozen=True, kw_only=True)
class DepthAnswer:
    """A depth map in bytes, and everything that is needed to read it."""

    body: bytes
    media_type: str
    format: Format
    height: int
    """Of the depth map, in pixels."""
    width: int
    dtype: str
    """Of the stored values, as numpy names them, such as `<u2` or `<f4`."""
    scale: float
    """Stored value x scale = depth in :attr:`unit`."""
    unit: Unit
    scale_source: ScaleSource
    minimum: float
    """Smallest and largest valid depth in the map, in :attr:`unit`."""
    maximum: float
    invalid: str
    """The stored value that says that there is no depth here; `none` where every pixel has one."""
    model: str
    model_version: str
    request_id: str
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in `decode`, `queue`, `predict`, `encode` and in `total`."""
    batch_size: int = 1
    """How many images went through the network together with this one, itself included."""
    intrinsics: Intrinsics | None = None
    """Of the map's own pixels; None where the request named no lens."""


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
    """The size in pixels at which it sees images."""
    width: int
    min_depth: float
    """The nearest and farthest depth that it can answer, in :attr:`unit`."""
    max_depth: float
    backend: str
    """What runs it, in words."""
    max_batch: int
    statistics: "ModelStatistics"
    problem: str | None = None
    """Why it failed to load, in words that name no internals."""


@dataclass(frozen=True, kw_only=True)
class ModelStatistics:
    """What a version of a model has done since it was loaded."""

    images: int = 0
    """Answered."""
    failed: int = 0
    batches: int = 0
    queue_s: float = 0.0
    """Summed over images that were answered, as are the next four."""
    decode_s: float = 0.0
    network_s: float = 0.0
    """Each image's is its whole batch's: that is how long its sender waited."""
    encode_s: float = 0.0
    total_s: float = 0.0
    failed_s: float = 0.0
    """Summed over images that failed."""
    predict_s: float = 0.0
    """Summed over batches."""
    batch_sizes: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    """How often batches of each size ran, and for how many seconds together."""
    last_used_s: float = 0.0
    """The Unix time of the last batch."""
