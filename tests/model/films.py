"""Films of one colour a frame, with whatever a file may say of them."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ONE = 1 << 16
MATRICES = {
    "quarter turn": (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30),
    "mirrored": (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30),
    "upside down": (-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30),
    "mirrored and turned": (0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30),
}
"""FFmpeg's display matrices: a pixel at (x, y) is shown at (x, y) @ the upper left of it."""


def film(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    ticks: Sequence[int] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    set_up: Callable[[Any], None] = lambda stream: None,
    raw: bool = False,
    base: Fraction = Fraction(1, 10),
) -> Path:
    """Write a film at ten frames a second.

    Args:
        path: Its suffix decides the container.
        pictures: RGB, or the three planes' values of each where `raw`.
        ticks: When they are shown, in `base`; None: one after the other.
        codec: Of the stream.
        pixels: Their format.
        matrix: How the file says that it is to be shown.
        options: Of the codec.
        set_up: Told the stream before the first frame.
        raw: Whether pictures are Y, U and V, 64 x 48.
        base: Seconds a tick.
    """
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10, options=options or {})
        first = pictures[0]
        stream.height, stream.width = (48, 64) if raw else first.shape[:2]
        stream.pix_fmt = pixels
        set_up(stream)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for number, picture in enumerate(pictures):
            frame = _planes(picture, pixels) if raw else av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = ticks[number] if ticks else number, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _planes(values: np.ndarray, pixels: str) -> av.VideoFrame:
    frame = av.VideoFrame(64, 48, pixels)
    kind = np.uint16 if pixels.endswith("10le") else np.uint8
    for plane, value in zip(frame.planes, values, strict=True):
        plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind).tobytes())
    return frame


def corners(height: int = 48, width: int = 64) -> np.ndarray:
    """Red above left, green above right, blue below left, white below right."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left, 0] = picture[:top, left:, 1] = picture[top:, :left, 2] = 255
    picture[top:, left:] = 255
    return picture
