"""What a protocol is: which part of the image is shown, which pixels count, and between which bounds.

Every published protocol is one such record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from training.judge.metrics import LogBase

Image: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
Map: TypeAlias = Float32[np.ndarray, "_ _"]
Window: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


class JudgingError(Exception):
    """Something cannot be judged; the message names the frame or file."""


@runtime_checkable
class JudgedFrame(Protocol):
    """A photograph with ground truth; a training `Sample` is one."""

    @property
    def key(self) -> str:
        """Stable and unique name."""
        ...

    @property
    def image(self) -> np.ndarray:
        """RGB, uint8, as photographed."""
        ...

    @property
    def depth_m(self) -> np.ndarray | None:
        """Ground truth along the optical axis, float32; 0 where nothing was measured."""
        ...


@runtime_checkable
class JudgedFrames(Protocol):
    """Frames by number, read when asked for; reading must be safe from several threads."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int, /) -> JudgedFrame:
        """Read one."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Frames of one or several sets, one after the other."""

    parts: tuple[JudgedFrames, ...]
    lengths: tuple[int, ...]
    """How many frames each set has; a part may be several sets."""

    @classmethod
    def of(cls, frames: JudgedFrames) -> "Sets":
        """Take frames for one set."""
        return cls(parts=(frames,), lengths=(len(frames),))

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int, /) -> JudgedFrame:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(f"there are {len(self)} frames")


@dataclass(frozen=True, kw_only=True)
class TruthFrame:
    """A frame whose ground truth has a size of its own."""

    key: str
    image: Image
    depth_m: Map | None


def whole(pixels: np.ndarray) -> np.ndarray:
    """Return an image or map as it is."""
    return pixels


def everything(height: int, width: int) -> Window:
    """Return the window of all pixels."""
    return slice(0, height), slice(0, width)


@dataclass(frozen=True, kw_only=True)
class JudgingProtocol:
    """How a frame is judged, in order: prepare, predict, resize disparity, mask, align, clamp, measure."""

    name: str
    """As in reports."""
    sentence: str
    """What is done, for reports."""
    published_images: int | None
    """How many images the published tables average over; None where everyone brings their own."""
    mask_m: tuple[float, float]
    """Ground truth counts strictly between these."""
    clamp_m: tuple[float, float]
    """Aligned depth is clamped to these."""
    prepare: Callable[[Image], Image] = whole
    """The part of the photograph that the network is shown."""
    view: Callable[[Map], Map] = whole
    """The part of the ground truth that shows the same; to its size predicted disparity is resized."""
    window: Callable[[int, int], Window] = everything
    """The part of the view, by its height and width, in which pixels count."""
    resize: Literal["linear", "nearest"] = "linear"
    """How disparity is resized to the view."""
    log_base: LogBase = "natural"
    """Of the logarithmic error."""

    def resized(self, disparity: Map, height: int, width: int) -> Map:
        """Return disparity of the view's size. It is disparity that is resized, and never depth."""
        if disparity.shape == (height, width):
            return disparity
        how = cv2.INTER_LINEAR if self.resize == "linear" else cv2.INTER_NEAREST
        resized: Map = cv2.resize(disparity, (width, height), interpolation=how)
        return resized

    def counted(self, view_m: Float32[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
        """Return which pixels of the viewed ground truth count."""
        lowest_m, highest_m = self.mask_m
        rows, columns = self.window(*view_m.shape)
        counted = np.zeros(view_m.shape, np.bool_)
        inside = view_m[rows, columns]
        counted[rows, columns] = (inside > lowest_m) & (inside < highest_m)
        return counted
