"""How a network sees a picture, and what its output means: all that a service knows beside its runtime."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from model.images import resize_image
from model.metadata import CheckpointMetadata, DepthScale


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Focal lengths in pixels of the picture as it came."""

    fx_px: float
    fy_px: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A network's disparity of one picture, and what it is worth."""

    disparity: Float32[np.ndarray, "rows columns"]
    """1/depth, in 1/unit; zero is infinitely far, and NaN is no depth."""
    scale: DepthScale
    """What a unit is worth in this picture, through this lens."""
    farthest: float = math.inf
    """The farthest depth that the network can return, in its own unit."""
    confidence: Float32[np.ndarray, "rows columns"] | None = None
    """How sure the network is of each pixel, from 0 to 1; None where it does not say, or nobody asked."""
    notice: str = ""
    """What callers are told as long as nothing that they know makes metres of it; empty where nothing is."""


def predict_by_shape(
    items: Sequence[np.ndarray], predict: Callable[[np.ndarray], Iterable[Any]]
) -> list[Any]:
    """Return the output of each input, in their order; those of one shape are predicted together.

    Args:
        items: As views prepare pictures.
        predict: Returns the outputs of a batch.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for index, item in enumerate(items):
        alike.setdefault(item.shape, []).append(index)
    outputs: list[Any] = [None] * len(items)
    for indices in alike.values():
        found = predict(np.stack([items[index] for index in indices]))
        for index, output in zip(indices, found, strict=True):
            outputs[index] = output
    return outputs


_LONGEST_LICENCE = 200


def one_line(licence: str) -> str:
    """Return a licence as answers may carry it: one line of printable ASCII, of 200 characters at most."""
    return "".join(one if " " <= one <= "~" else "?" for one in licence)[:_LONGEST_LICENCE]


@runtime_checkable
class View(Protocol):
    """What lies between a picture and one network, and between its output and disparity."""

    scale: DepthScale
    """Of pictures through the usual lens."""
    licence: str
    """Of the weights; empty where none is stated."""
    usual_size: tuple[int, int]
    """Height and width at which it sees pictures, or photographs of four to three where these vary."""
    depth_range: tuple[float, float]
    """The nearest and the farthest depth that it can return, in its unit; zeros where nobody knows."""
    fractions: bool
    """Whether a picture may be decoded at a fraction of its size on the way to the network's."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width at which it sees a picture of this size.

        Raises:
            ValueError: It cannot see it; the message says why.
        """
        ...

    def prepare(self, rgb: UInt8[np.ndarray, "rows columns 3"]) -> np.ndarray:
        """Return the network's input for a picture.

        Raises:
            ValueError: It cannot see it; the message says why.
        """
        ...

    def read(
        self, output: Any, picture: tuple[int, int], height: int, width: int, lens: Lens | None = None
    ) -> Reading:
        """Return what an output says of a picture of this height and width, for a map of another.

        Raises:
            ValueError: The output is none that the network may have.
        """
        ...


class CheckpointView:
    """The view of a checkpoint's network: every picture at one size, disparity out.

    Args:
        metadata: What the checkpoint says of itself.
    """

    fractions = True

    def __init__(self, metadata: CheckpointMetadata) -> None:
        config = metadata.config
        self.scale, self.licence = metadata.scale, one_line(metadata.licence)
        self.usual_size, self._farthest = (config.height, config.width), config.max_depth
        self.depth_range = config.min_depth * self.scale.factor, config.max_depth * self.scale.factor

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the network's one size."""
        return self.usual_size

    def prepare(self, rgb: UInt8[np.ndarray, "rows columns 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """Resize a picture."""
        return np.ascontiguousarray(resize_image(np.ascontiguousarray(rgb), *self.usual_size))

    def read(
        self, output: Any, picture: tuple[int, int], height: int, width: int, lens: Lens | None = None
    ) -> Reading:
        """Return the disparity as it is.

        Raises:
            ValueError: It holds no number at all.
        """
        if not np.isfinite(output).any():
            raise ValueError("the network returned NaN or infinity everywhere; expected disparity")
        return Reading(disparity=output, scale=self.scale, farthest=self._farthest)
