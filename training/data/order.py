"""Which sample comes at which position of an endless training run: a pure function of the seed.

Nothing is remembered, so a run resumes anywhere, and two processes agree without talking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

_BLOCK = 1000
"""Shares of weighted parts hold exactly in each block of this many positions."""
_ORDER, _SCHEDULE, _CHANGES = 0, 1, 2
"""Separate streams of randomness."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One position."""

    index: int
    """Of the sample in the whole data set."""
    epoch: int
    """How often the sample, or its part of a weighted mixture, has been through before."""


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Return the generator of one stream of randomness."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *stream))))


class SampleOrder:
    """Shuffled epochs one after the other.

    Args:
        sizes: How many samples each part of the data set has, one after the other.
        weights: The share of positions that each part gets; None: every sample comes once an epoch.
        seed: Decides everything.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None, seed: int) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"parts of {list(sizes)} samples; expected at least one sample in each")
        self._seed = seed
        if weights is None:
            self._sizes = [sum(sizes)]
            self._quotas = [1]
        else:
            if len(weights) != len(sizes) or min(weights) <= 0:
                raise ValueError(f"weights are {list(weights)}; expected {len(sizes)} positive numbers")
            self._sizes = list(sizes)
            self._quotas = _quotas(weights)
        self._starts = np.cumsum([0, *self._sizes]).tolist()
        self._permutation = lru_cache(maxsize=2 * len(self._sizes))(self._shuffled)
        self._schedule = lru_cache(maxsize=2)(self._shuffled_schedule)

    def at(self, position: int) -> Turn:
        """Return whose turn it is."""
        block, offset = divmod(position, sum(self._quotas))
        schedule = self._schedule(block)
        part = int(schedule[offset])
        earlier = block * self._quotas[part] + int(np.count_nonzero(schedule[:offset] == part))
        epoch, place = divmod(earlier, self._sizes[part])
        index = self._starts[part] + int(self._permutation(part, epoch)[place])
        return Turn(index=index, epoch=epoch)

    def changes(self, turn: Turn) -> np.random.Generator:
        """Return the generator for the augmentation of a sample in its epoch."""
        return generator(self._seed, _CHANGES, turn.epoch, turn.index)

    def _shuffled(self, part: int, epoch: int) -> Int64[np.ndarray, " samples"]:
        return generator(self._seed, _ORDER, part, epoch).permutation(self._sizes[part])

    def _shuffled_schedule(self, block: int) -> Int64[np.ndarray, " positions"]:
        parts = np.repeat(np.arange(len(self._quotas)), self._quotas)
        return generator(self._seed, _SCHEDULE, block).permutation(parts)


def _quotas(weights: Sequence[float]) -> list[int]:
    """Whole positions a block for each part, by largest remainder, at least one."""
    exact = np.array(weights) / sum(weights) * _BLOCK
    quotas = np.maximum(1, np.floor(exact)).astype(int)
    for part in np.argsort(quotas - exact)[: max(0, _BLOCK - int(quotas.sum()))]:
        quotas[part] += 1
    return [int(quota) for quota in quotas]
