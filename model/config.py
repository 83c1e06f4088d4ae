"""What a network of ours is made of, and the presets of ours, defined once.

A configuration travels inside every checkpoint and is all that is needed to build the network again. This
module knows no tensors and imports no torch, so that a service can read a checkpoint's description cheaply.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Role = Literal["teacher", "student"]
Aggregation = Literal["attention", "concat", "none"]

STRIDE_MULTIPLE = 32
"""Heights and widths are multiples of the coarsest stride of the pyramid."""


@dataclass(frozen=True, kw_only=True)
class FoundationConfig:
    """Which frozen vision foundation model gives the semantics."""

    name: str = "vit_small_patch14_dinov2.lvd142m"
    """timm's name of a vision transformer."""
    blocks: tuple[int, ...] = (3, 6, 9, 12)
    """The blocks, counted from 1, whose outputs are the four token grids."""

    def __post_init__(self) -> None:
        if len(self.blocks) != 4 or any(block < 1 for block in self.blocks):
            raise ValueError(
                f"foundation.blocks is {self.blocks}; expected four block numbers counted from 1"
            )
        if list(self.blocks) != sorted(set(self.blocks)):
            raise ValueError(f"foundation.blocks is {self.blocks}; expected increasing block numbers")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides a network's shape. Lengths in pixels, depths in the network's own unit."""

    name: str
    """The preset's name, or the caller's own."""
    role: Role
    """A teacher may have a foundation model; a student never has."""
    backbone: str = "mobilenetv2_100"
    """timm's name of a ``features_only`` backbone: the geometric encoder."""
    backbone_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from RGB in [0, 1] before the backbone; what its pretrained weights expect."""
    backbone_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Divides RGB after the mean was subtracted."""
    backbone_padding: str | None = "same"
    """timm's ``pad_type``, for backbones ported from TensorFlow; None for those without the option."""
    foundation: FoundationConfig | None = None
    aggregation: Aggregation = "none"
    aggregation_width: int = 128
    """Channels of queries, keys and values."""
    aggregation_heads: int = 4
    decoder_channels: tuple[int, int, int, int, int] = (96, 64, 40, 24, 16)
    """Channels after each decoder stage, at strides 16, 8, 4, 2 and 1."""
    categories: int = 64
    """Distance categories of the train-only head; 0 for no head."""
    height: int = 192
    width: int = 640
    min_depth: float = 0.1
    max_depth: float = 100.0

    def __post_init__(self) -> None:
        self._check_size()
        self._check_semantics()
        if not 0 < self.min_depth < self.max_depth:
            raise ValueError(
                f"min_depth is {self.min_depth} and max_depth {self.max_depth}; expected 0 < min < max"
            )
        if len(self.decoder_channels) != 5 or min(self.decoder_channels) < 1:
            raise ValueError(f"decoder_channels is {self.decoder_channels}; expected five positive numbers")
        if self.categories < 0 or self.categories == 1:
            raise ValueError(f"categories is {self.categories}; expected 0 for no head, or at least 2")

    def _check_size(self) -> None:
        for side in ("height", "width"):
            value = getattr(self, side)
            if value < STRIDE_MULTIPLE or value % STRIDE_MULTIPLE:
                raise ValueError(f"{side} is {value}; expected a positive multiple of {STRIDE_MULTIPLE}")

    def _check_semantics(self) -> None:
        if self.role not in ("teacher", "student"):
            raise ValueError(f"role is {self.role!r}; expected 'teacher' or 'student'")
        if self.aggregation not in ("attention", "concat", "none"):
            raise ValueError(f"aggregation is {self.aggregation!r}; expected 'attention', 'concat' or 'none'")
        if self.role == "student" and self.foundation is not None:
            raise ValueError("a student has no foundation model; expected foundation=None")
        if (self.aggregation != "none") != (self.foundation is not None):
            raise ValueError(
                f"aggregation is {self.aggregation!r} and foundation is {self.foundation}; "
                "expected both or neither"
            )
        if self.aggregation_width % self.aggregation_heads:
            raise ValueError(
                f"aggregation_width is {self.aggregation_width}; "
                f"expected a multiple of aggregation_heads, {self.aggregation_heads}"
            )


_TINY = "mobilenetv3_small_050"

PRESETS: Mapping[str, ModelConfig] = {
    "teacher": ModelConfig(
        name="teacher",
        role="teacher",
        foundation=FoundationConfig(),
        aggregation="attention",
        decoder_channels=(192, 128, 64, 32, 16),
    ),
    "student": ModelConfig(name="student", role="student"),
    "tiny": ModelConfig(
        name="tiny",
        role="student",
        backbone=_TINY,
        backbone_padding=None,
        decoder_channels=(16, 16, 8, 8, 8),
        categories=8,
        height=64,
        width=96,
    ),
    "tiny-teacher": ModelConfig(
        name="tiny-teacher",
        role="teacher",
        backbone=_TINY,
        backbone_padding=None,
        foundation=FoundationConfig(name="test_vit", blocks=(1, 3, 5, 6)),
        aggregation="attention",
        aggregation_width=16,
        aggregation_heads=2,
        decoder_channels=(16, 16, 8, 8, 8),
        categories=8,
        height=64,
        width=96,
    ),
}
"""Every preset by its name. ``tiny`` and ``tiny-teacher`` are for tests: small, quick and never accurate."""


def preset(name: str, **overrides: Any) -> ModelConfig:
    """Return a preset, with any of its fields replaced.

    Raises:
        ValueError: No preset has that name, or an override is out of range.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **overrides)
