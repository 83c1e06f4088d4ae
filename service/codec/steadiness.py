"""Hold a video's depth still: average each pixel's log depth over frames, where they show the same thing.

The average is weighted by agreement: a pixel whose depth changed keeps its own. Frames are brought over each
other by the cameras' poses where these are known, else by one shift of the whole picture.
"""

import math
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from service.codec.point_cloud import rays
from service.codec.scale import Scale
from service.contract.pose import Pose
from service.contract.request import Intrinsics

Map = Float32[np.ndarray, "rows columns"]
_GATE = 0.15
"""Pixels whose log depth differs by more than about this are no longer the same thing."""
_COARSE_PIXELS = 7680
"""Of the pictures that frames are compared by; 160x48 of a network of 640x192."""
_BLUR_PX = 1.2
_SURROUNDINGS_PX = 9
"""In pixels of those. Details between the two sizes tell places apart; the layout of all roads is alike."""
_SAME_PLACE = 0.42
"""The least correlation of two such pictures of one place. Consecutive frames of five drives had 0.53 to 1,
every second frame 0.47 to 1, and frames of different drives at most 0.40."""
_FLAT = 0.1
"""Energy a pixel, in squared grey levels, below which a picture has no details to compare."""
_FAR_OFF = 1e3
"""The log disparity of what lies outside: it agrees with nothing."""
_LEAST, _MOST = np.float32(1e-30), np.float32(1e30)
"""Of disparity whose logarithm is taken: zero is infinitely far, and agrees with nothing."""
_LEAST_FORWARD = np.float32(1e-3)
"""Of a pixel's depth in the frame before over that in this one; below, it lay beside or behind the camera."""


@dataclass(frozen=True, kw_only=True)
class View:
    """From where a frame was seen."""

    pose: Pose
    lens: Intrinsics
    """Of the disparity's own pixels."""
    scale: Scale
    """In metres."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenFrame:
    """What a network saw, and what it made of it."""

    pixels: UInt8[np.ndarray, "rows columns 3"]
    disparity: Map
    source: Hashable
    """What made it: frames of another size, or by another network, are not averaged with these."""
    view: View | None = None


@dataclass(frozen=True, eq=False)
class _State:
    """Of the frame before; as large as the network's output, whatever the size of the frames."""

    source: Hashable
    logs: Map
    """Of its steady disparity."""
    coarse: Map
    view: View | None


class Steadier:
    """The frames of one video, in their order.

    Args:
        steadiness: The weight of the past where it agrees with the present, from 0 (none) to 1.

    Raises:
        ValueError: It is beyond that.
    """

    def __init__(self, steadiness: float) -> None:
        if not 0.0 <= steadiness <= 1.0:
            raise ValueError(f"the steadiness is {steadiness}; expected a number from 0 to 1")
        self._weight = np.float32(steadiness)
        self._state: _State | None = None
        # A frame whose caller gave up may still be at work when the next one begins.
        self._lock = threading.Lock()

    def steady(self, frame: SeenFrame) -> Map:
        """Return the next frame's disparity; the frame's own where nothing before it shows the same place.

        A pixel's log disparity ``l`` becomes ``l + w exp(-(r / 0.15)^2) r``, where ``r`` is how much more the
        frames before let expect.
        """
        with self._lock:
            before, coarse = self._state, _coarse(frame.pixels)
            disparity, logs = frame.disparity, np.log(np.clip(frame.disparity, _LEAST, _MOST))
            change = None if before is None else _change(before, frame, coarse, logs)
            if change is not None:
                change[~(np.abs(change) < 1)] = 0.0  # another thing, or no number
                gate = change * np.float32(1 / _GATE)
                gate *= gate
                change *= self._weight * cv2.exp(np.negative(gate, out=gate))
                logs += change
                disparity = disparity * cv2.exp(change)
            self._state = _State(frame.source, logs, coarse, frame.view)
            return disparity


def _change(before: _State, frame: SeenFrame, coarse: Map, logs: Map) -> Map | None:
    """Return how much more log disparity the frame before lets expect than there is; None after a cut."""
    if before.source != frame.source:
        return None
    if before.view is not None and frame.view is not None:
        columns, rows, expected = _places(before.view, frame.view, frame.disparity)
        if _is_same_place(_coarsely(before.coarse, columns, rows), coarse):
            change = _sampled(before.logs, columns, rows, beyond=_FAR_OFF)
            change -= expected
            return change
        # Another place; or poses that are wrong, which the pictures themselves then make up for.
    across, down = _shift(before.coarse, coarse)
    if not _is_same_place(*_overlap(before.coarse, coarse, round(across), round(down))):
        across = down = 0.0
        if not _is_same_place(before.coarse, coarse):
            return None
    # Whole pixels: to interpolate anew in every frame would blur what is averaged.
    across = round(across * logs.shape[1] / coarse.shape[1])
    down = round(down * logs.shape[0] / coarse.shape[0])
    change = np.full_like(logs, _FAR_OFF)
    then, now = _overlap(before.logs, logs, across, down)
    np.subtract(then, now, out=_overlap(change, change, across, down)[1])
    return change


def _places(then: View, now: View, disparity: Map) -> tuple[Map, Map, Map]:
    """Return in which column and row of the frame before each pixel lay, and its log disparity there."""
    then_r, then_t = _parts(then.pose)
    now_r, now_t = _parts(now.pose)
    turn, move = (then_r.T @ now_r).astype(np.float32), (then_r.T @ (now_t - then_t)).astype(np.float32)
    x, y = rays(now.lens, *disparity.shape)
    # Points divided by their depth, so that what is infinitely far has a place, too.
    factor, shift = np.float32(now.scale.factor), np.float32(now.scale.shift)
    nearness = disparity * (1 / factor) + shift
    columns, rows, forward = (
        (turn[axis, 0] * x + turn[axis, 2]) + (turn[axis, 1] * y)[:, None] + move[axis] * nearness
        for axis in range(3)
    )
    np.maximum(forward, _LEAST_FORWARD, out=forward)
    for place, focal_px, centre_px in (
        (columns, then.lens.fx_px, then.lens.cx_px),
        (rows, then.lens.fy_px, then.lens.cy_px),
    ):
        place /= forward
        place *= np.float32(focal_px)
        place += np.float32(centre_px - 0.5)
    nearness /= forward
    nearness -= shift
    nearness *= factor
    return columns, rows, np.log(np.clip(nearness, _LEAST, _MOST, out=nearness), out=nearness)


def _parts(pose: Pose) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, " 3"]]:
    rows = np.array(pose.rows)
    return rows[:, :3], rows[:, 3]


def _sampled(values: Map, columns: Map, rows: Map, *, beyond: float) -> Map:
    sampled: Map = cv2.remap(
        values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=beyond
    )
    return sampled


def _coarsely(coarse: Map, columns: Map, rows: Map) -> Map:
    """Return a coarse picture as seen through the places of the fine one's pixels."""
    height, width = coarse.shape
    across, down = width / columns.shape[1], height / rows.shape[0]
    columns, rows = (
        (cv2.resize(places, (width, height), interpolation=cv2.INTER_LINEAR) + np.float32(0.5))
        * np.float32(share)
        - np.float32(0.5)
        for places, share in ((columns, across), (rows, down))
    )
    return _sampled(coarse, columns, rows, beyond=0.0)


def _coarse(pixels: UInt8[np.ndarray, "rows columns 3"]) -> Map:
    """Return the details of a picture by which places are told apart."""
    height, width = pixels.shape[:2]
    share = min(1.0, math.sqrt(_COARSE_PIXELS / (height * width)))
    size = max(1, round(width * share)), max(1, round(height * share))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _BLUR_PX)
    details: Map = grey - cv2.blur(grey, (_SURROUNDINGS_PX, _SURROUNDINGS_PX))
    return details


def _shift(before: Map, after: Map) -> tuple[float, float]:
    """Return by how many columns and rows a whole picture moved, by phase correlation."""
    height, width = after.shape
    if min(height, width) < _SURROUNDINGS_PX:
        return 0.0, 0.0
    (across, down), _ = cv2.phaseCorrelate(before, after, _window(height, width))
    # Farther, there is too little left to be compared.
    return (across, down) if abs(across) <= width / 4 and abs(down) <= height / 4 else (0.0, 0.0)


@lru_cache
def _window(height: int, width: int) -> Map:
    window: Map = cv2.createHanningWindow((width, height), cv2.CV_32F)
    return window


def _overlap(before: Map, after: Map, across: int, down: int) -> tuple[Map, Map]:
    """Return the part of each of two maps that the other has, too, if things moved so far between them."""
    height, width = after.shape
    then = before[max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
    now = after[max(0, down) : height - max(0, -down), max(0, across) : width - max(0, -across)]
    return then, now


def _is_same_place(before: Map, after: Map) -> bool:
    """Whether two pictures correlate as those of one place do; where neither has details, nothing differs."""
    flat = _FLAT * after.size
    energies = [float(np.vdot(each, each)) for each in (before, after)]
    if max(energies) < flat:
        return True
    one, other = (max(energy, flat) for energy in energies)
    return float(np.vdot(before, after)) >= _SAME_PLACE * math.sqrt(one * other)
