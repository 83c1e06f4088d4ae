"""The protocol that every backend follows, and what it is told when it is opened.

It does not know any backend.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

Precision = Literal["auto", "float32", "bfloat16", "float16"]


class BackendError(Exception):
    """A network that cannot be loaded on a device; the message is for operators, and names paths."""


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """How a backend is to run a network."""

    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    """On a CPU; all cores where None."""
    max_batch: int | None = None
    """The backend's own where None."""
    compile: bool = True
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

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity, 1/depth in 1/unit of the network, of RGB images."""
        ...

    def memory_bytes(self) -> int:
        """Return how much memory of its device is in use; 0 where the device is the process's own memory."""
        ...

    def close(self) -> None:
        """Let go of the device, once no batch is under way."""
        ...
