"""The protocol that every backend follows, and what it is told when it is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from model.golden import GoldenAnswer

Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]


class BackendError(Exception):
    """A network that cannot be loaded on a device; the message is for operators, and names paths."""


class DeviceLost(Exception):  # noqa: N818 - it is read as a sentence
    """A device that this process cannot use any more, whatever it rebuilds: only a new process can."""


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """How a backend is to run a network."""

    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    """On a CPU; all cores where None."""
    max_batch: int | None = None
    """The backend's own where None."""
    cuda_graphs: bool = True
    """Whether torch on CUDA records each batch size as a CUDA graph."""
    cache_dir: Path | None = None
    """Where exports and compiled models are kept; the user's cache folder where None."""
    foundation_weights: Path | None = None
    """A teacher's foundation model, where its checkpoint does not hold it."""


class Backend(Protocol):
    """A network on a device. Calls block; as many threads at a time as there are lanes."""

    @property
    def description(self) -> str:
        """What runs the network, and in which precision, in words."""
        ...

    @property
    def height(self) -> int:
        """Of the images that it takes, in pixels."""
        ...

    @property
    def width(self) -> int:
        """Likewise."""
        ...

    @property
    def max_batch(self) -> int:
        """The largest batch that it is worth giving."""
        ...

    @property
    def lanes(self) -> int:
        """How many batches it may be given at once: one, unless a second fills what the first leaves idle."""
        ...

    @property
    def padded(self) -> bool:
        """Whether batches are padded to the next power of two, or to the largest batch, and cost as much."""
        ...

    @property
    def precision(self) -> str:
        """In which it computes: `float32`, `tf32`, `bfloat16` or `float16`."""
        ...

    @property
    def golden(self) -> GoldenAnswer | None:
        """What the plain network returns for the drawn image; None where no network is computed."""
        ...

    def predict(self, images: np.ndarray) -> np.ndarray | Sequence[Any]:
        """Return one output for each picture of a batch, which all have one size, as its view prepares them.

        Checkpoints take uint8 RGB (batch, height, width, 3) and return float32 disparity (batch, height,
        width), 1/depth in 1/unit of the network; described networks return their outputs by tensor.
        """
        ...

    def memory_bytes(self) -> int:
        """Return how much memory of its device is in use; 0 where the device is the process's own memory."""
        ...

    def close(self) -> None:
        """Let go of the device, once no batch is under way."""
        ...

    def discard(self) -> bool:
        """Delete what is cached on disk for it; return whether there was anything."""
        ...
