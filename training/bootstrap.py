"""How far a mean over images could lie from where it came out, had other images been photographed.

Efron's percentile bootstrap, and for videos the circular block bootstrap of Politis and Romano (1992), since
neighbouring frames are no independent witnesses. It does not know what is averaged.
"""

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


def intervals(values: Float64[np.ndarray, "images columns"], config: BootstrapConfig) -> tuple[Interval, ...]:
    """Return the interval of each column's mean; blocks run on from the last image to the first.

    Raises:
        ValueError: There are no images, or fewer than a block.
    """
    images = len(values)
    if images == 0 or config.block > images:
        raise ValueError(f"block is {config.block} and there are {images} images; expected at least a block")
    generator = np.random.default_rng(config.seed)
    means = np.concatenate(
        [
            values[_draw(generator, min(_CHUNK, config.resamples - start), images, config.block)].mean(axis=1)
            for start in range(0, config.resamples, _CHUNK)
        ]
    )
    tail = (1.0 - config.confidence) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail), axis=0)
    return tuple(Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True))


def _draw(generator: np.random.Generator, resamples: int, images: int, block: int) -> np.ndarray:
    """Return image numbers, (resamples, images): blocks from random starts, the last cut to fit."""
    blocks = -(-images // block)
    starts = generator.integers(images, size=(resamples, blocks, 1))
    numbers = (starts + np.arange(block)) % images
    drawn: np.ndarray = numbers.reshape(resamples, -1)[:, :images]
    return drawn
