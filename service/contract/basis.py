"""What the metres of a depth map rest on, and how well they are known."""

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal

Fact = str | float | int | bool
Rectified = Literal["yes", "no", "none"]


@dataclass(frozen=True, kw_only=True)
class KnownFit:
    """How well known points agree with a depth map."""

    points: int
    """That lie in the picture."""
    agreeing: int
    """Of them; the others look wrong, and count for little."""
    residual: float
    """The points' median distance from the map, as a share of their depth."""
    shift: bool
    """Whether disparity got a shift beside a scale: the network needs one, or held-out points prove it."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Flat ground that the camera stands over."""

    height: float
    """Of the camera over it, in the answer's unit."""
    pitch_deg: float
    """How far the camera looks down; negative where it looks up."""
    share: float
    """Of the lower middle of the picture that is this ground."""
    error: float
    """How far its depth scatters about the plane, as a share of it."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a depth map's metres rest on, beside their source."""

    fy_per_height: float | None = None
    """The lens for which the metres hold, as the vertical focal length over the picture's height. None where
    they rest on what the caller knows of the scene, or where no lens is noted in the checkpoint."""
    uncertainty: float | None = None
    """How well the metres are known, as a share of them: one standard error of their scale. None where nobody
    measured it: they are the checkpoint's own."""
    rectified: Rectified = "none"
    """For a camera with distortion: whether the map is of the rectified picture, or of the raw one."""
    fit: KnownFit | None = None
    """Where points are known."""
    ground: Ground | None = None
    """Where the camera's height is known, or ground was asked for."""


_DIGITS = 6


def facts(known: Any) -> dict[str, Fact]:
    """Return everything that is known, by names such as ``fy_per_height`` and ``fit_residual``.

    Args:
        known: A `Basis`, or whatever has its fields.
    """
    found: dict[str, Fact] = {}
    for field in fields(Basis):
        value = getattr(known, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            found |= {f"{field.name}_{name}": _rounded(each) for name, each in asdict(value).items()}
        elif value not in (None, "none"):
            found[field.name] = _rounded(value)
    return found


def _rounded(value: Fact) -> Fact:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
