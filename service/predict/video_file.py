"""Video files, frame by frame: upright RGB in, H.264 out; neither is ever held whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from jaxtyping import UInt8

from model import footage
from model.footage import VideoError as VideoError

_ITU709 = 1
"""ITU-R BT.709 by its number in H.264 and FFmpeg: what players expect, and are told."""
_QUALITY = "18"
"""x264's constant rate factor; hardly told from the original."""
Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True)
class VideoFrame:
    """One frame."""

    index: int
    """Counted from 0."""
    ticks: int
    """When it is shown, in the video's time base, from the first frame on."""
    rgb: Image
    """Upright."""


class VideoReader:
    """Reads a video from its first frame to its last; used by one thread at a time.

    Raises:
        VideoError: It is no video.
    """

    def __init__(self, path: Path) -> None:
        self._reader = footage.VideoReader(path)
        self.rate: Fraction = self._reader.rate
        self.time_base: Fraction = self._reader.time_base
        self._frames = self._read()

    @property
    def expected_frames(self) -> int | None:
        """How many frames there are, as far as the file says."""
        return self._reader.expected_frames

    @property
    def remarks(self) -> list[str]:
        """What was done to the frames so far that a reader may want to know."""
        return self._reader.remarks

    def next(self) -> VideoFrame | None:
        """Return the next frame, or None after the last.

        Raises:
            VideoError: Most of the file is damaged.
        """
        return next(self._frames, None)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _read(self) -> Iterator[VideoFrame]:
        step = max(1, round(1 / (self.rate * self.time_base)))
        ticks, starts, before = -step, 0, None
        for frame in self._reader:
            at = ticks + step if frame.time_s is None else round(frame.time_s / self.time_base) - starts
            if before is None or at < ticks:  # the first, or one after which the file's times begin again
                starts += at - (ticks + step)
                at = ticks + step
            # Some files repeat a time; what is written may not.
            ticks, before = max(at, ticks + 1), frame
            yield VideoFrame(index=frame.index, ticks=ticks, rgb=frame.rgb)


class VideoWriter:
    """Writes an MP4 of H.264; its size is that of the first frame, and both sides are even.

    Args:
        path: Of any name.
        rate: Frames a second, for the encoder's budget.
        time_base: Of the ticks at which frames are shown.
    """

    def __init__(self, path: Path, *, rate: Fraction, time_base: Fraction) -> None:
        self._container: Any = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options={"crf": _QUALITY})
        self._stream.pix_fmt = "yuv420p"
        self._time_base = time_base
        context = self._stream.codec_context
        context.time_base = time_base
        context.colorspace = context.color_primaries = context.color_trc = _ITU709
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._begun:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except av.FFmpegError as failure:
            raise VideoError(f"cannot be finished: {failure.strerror}") from failure

    def write(self, rgb: Image, ticks: int) -> None:
        """Add a frame.

        Raises:
            VideoError: It cannot be encoded.
        """
        if not self._begun:
            self._stream.height, self._stream.width = rgb.shape[:2]
            self._begun = True
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_ITU709)
        frame.pts, frame.time_base = ticks, self._time_base
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise VideoError(f"cannot be encoded: {error.strerror}") from error
