"""How far a mean over images could lie from where it came out, had other images been photographed.

Efron's percentile bootstrap, and for videos the circular block bootstrap of Politis and Romano (1992),
since neighbouring frames are no independent witnesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_CHUNK = 256
"""Resamples drawn at once: 256 of 697 images with seven numbers take 10 MB."""


@dataclass(frozen=True, kw_only=True)
class BootstrapConfig:
    """How to draw."""

    resamples: int = 2000
    confidence: float = 0.95
    block: int = 1
    """Successive images that are drawn together: 1 for photographs, about a second of frames in videos."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"resamples is {self.resamples}; expected at least 1")
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence is {self.confidence}; expected a number between 0 and 1")
        if self.block < 1:
            raise ValueError(f"block is {self.block}; expected at least 1")


USUAL = BootstrapConfig()
"""For single photographs."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a mean lies, with the confidence asked for."""

    low: float
    high: float


def intervals(
    values: Float64[np.ndarray, "images columns"],
    config: BootstrapConfig,
    lengths: Sequence[int] | None = None,
) -> tuple[Interval, ...]:
    """Return the interval of each column's mean over sets of images, each set counting the same.

    Each set is drawn from by itself; blocks run on from its last image to its first.

    Args:
        values: A row for each image, set after set.
        config: How to draw.
        lengths: How many images each set has; None: all are one set.

    Raises:
        ValueError: A set has no images, or fewer than a block.
    """
    lengths = (len(values),) if lengths is None else tuple(lengths)
    for images in lengths:
        if images == 0 or config.block > images:
            raise ValueError(
                f"block is {config.block} and there are {images} images; expected at least a block"
            )
    weighted = values * set_weights(lengths)[:, None]
    generator = np.random.default_rng(config.seed)
    means = np.concatenate(
        [
            weighted[
                _draw_sets(generator, min(_CHUNK, config.resamples - start), lengths, config.block)
            ].mean(axis=1)
            for start in range(0, config.resamples, _CHUNK)
        ]
    )
    tail = (1.0 - config.confidence) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail), axis=0)
    return tuple(Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True))


def set_weights(lengths: Sequence[int]) -> Float64[np.ndarray, " images"]:
    """Return what each image counts where each set counts the same; 1 on average."""
    total = sum(lengths)
    return np.concatenate([np.full(images, total / (images * len(lengths))) for images in lengths])


def _draw_sets(
    generator: np.random.Generator, resamples: int, lengths: Sequence[int], block: int
) -> np.ndarray:
    """Return image numbers, (resamples, images), where each set keeps its places."""
    starts = np.cumsum([0, *lengths[:-1]])
    return np.concatenate(
        [
            start + _draw(generator, resamples, images, block)
            for start, images in zip(starts, lengths, strict=True)
        ],
        axis=1,
    )


def _draw(generator: np.random.Generator, resamples: int, images: int, block: int) -> np.ndarray:
    """Return image numbers, (resamples, images): blocks from random starts, the last cut to fit."""
    blocks = -(-images // block)
    starts = generator.integers(images, size=(resamples, blocks, 1))
    numbers = (starts + np.arange(block)) % images
    drawn: np.ndarray = numbers.reshape(resamples, -1)[:, :images]
    return drawn
