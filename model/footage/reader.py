"""Videos frame by frame as a player shows them: upright, of square pixels, with the right colours."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.stream import Disposition

from .tone import HDR, tone_mapped

Image = npt.NDArray[np.uint8]
"""RGB: height, width, 3."""

_COVER = Disposition.attached_pic
_USUAL_RATE = Fraction(30)
_MAX_GAP_S = 0.5
_MAX_GAP_FRAMES = 4
"""Frames farther apart than both of these do not follow one another."""
_FEW = 30
"""Packets after which a video of which most are damaged is given up."""
_UNSPECIFIED, _ITU709 = 2, 1
"""ITU-T H.273: what a file says of its colours that says nothing; ITU-R BT.709."""
_SD_ROWS = 576
"""Players take untagged video of more rows for BT.709, and of no more for BT.601."""


class VideoError(Exception):
    """A video that cannot be read; the message does not name it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """One frame."""

    index: int
    """Counted from 0."""
    time_s: float | None
    """When it is shown, as the file says."""
    stretch: int
    """Another number than that of the frame before, where the two do not follow one another."""
    rgb: Image
    """Upright, of square pixels."""


class VideoReader:
    """Reads the largest picture stream of a video from its first frame to its last; by one thread at a time.

    Rotation, mirroring, pixel aspect, colour matrix and range are those that the file states; interlaced
    frames are deinterlaced, HDR is tone-mapped, and packets that cannot be decoded are left out. What was
    done is in `remarks`.

    Args:
        path: Anything that FFmpeg reads.
        covers: Height and width; larger frames are shrunk as far as both sides stay at least these.

    Raises:
        VideoError: It is no video.
    """

    def __init__(self, path: Path, *, covers: tuple[int, int] | None = None) -> None:
        try:
            self._container: Any = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot be opened as a video: {error.strerror}") from error
        streams = [one for one in self._container.streams.video if not one.disposition & _COVER]
        if not streams:
            self._container.close()
            raise VideoError("has no video stream")
        self._stream = max(streams, key=lambda one: one.codec_context.width * one.codec_context.height)
        self._stream.thread_type = "AUTO"
        self._covers = covers
        self.rate: Fraction = self._stream.average_rate or _USUAL_RATE
        self.time_base: Fraction = self._stream.time_base or 1 / self.rate
        self.size: tuple[int, int] = (0, 0)
        """Height and width as a player shows them, once a frame was read."""
        self.damaged = 0
        """Packets that could not be decoded so far."""
        self._remarks: dict[str, None] = {}
        if len(streams) > 1:
            self._remarks[f"has {len(streams)} picture streams; the largest is read"] = None
        self._frames = self._read()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self._frames

    @property
    def remarks(self) -> list[str]:
        """What was done to the frames so far that a reader may want to know."""
        damaged = [f"{self.damaged} packets cannot be decoded and are left out"] if self.damaged else []
        return [*self._remarks, *damaged]

    @property
    def duration_s(self) -> float | None:
        """How long the video is, as far as the file says."""
        duration = self._container.duration
        return None if duration is None else float(Fraction(duration, av.time_base))

    @property
    def expected_frames(self) -> int | None:
        """How many frames there are, as far as the file says."""
        if self._stream.frames:
            return int(self._stream.frames)
        return None if self.duration_s is None else round(self.duration_s * self.rate)

    def next(self) -> VideoFrame | None:
        """Return the next frame, or None after the last.

        Raises:
            VideoError: Most of the video cannot be decoded.
        """
        return next(self._frames, None)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _read(self) -> Iterator[VideoFrame]:
        stretch, last_s = 0, None
        longest_s = max(_MAX_GAP_S, float(_MAX_GAP_FRAMES / self.rate))
        for index, frame in enumerate(self._progressive()):
            time_s = frame.time
            if time_s is not None:
                if last_s is not None and not 0 <= time_s - last_s <= longest_s:
                    stretch += 1
                last_s = time_s
            yield VideoFrame(index=index, time_s=time_s, stretch=stretch, rgb=self._shown(frame))

    def _progressive(self) -> Iterator[Any]:
        """Decode; from the first interlaced frame on, through a filter that gives a whole frame for each."""
        graph: Graph | None = None
        for frame in self._decoded():
            if graph is None and frame.interlaced_frame:
                self._remarks["is interlaced; its frames are deinterlaced"] = None
                graph = self._deinterlacer()
            if graph is None:
                yield frame
                continue
            graph.push(frame)
            yield from _pulled(graph)
        if graph is not None:
            graph.push(None)
            yield from _pulled(graph)

    def _deinterlacer(self) -> Graph:
        graph = Graph()
        source = graph.add_buffer(template=self._stream)
        graph.link_nodes(
            source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
        ).configure()
        return graph

    def _decoded(self) -> Iterator[Any]:
        good = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                # An empty packet asks for what the decoder still holds.
                self.damaged += bool(packet.size)
                if self.damaged >= _FEW and self.damaged > good:
                    raise self._mostly_damaged(good) from error
                continue
            except av.FFmpegError as error:
                raise VideoError(f"cannot be decoded: {error.strerror}") from error
            good += len(frames)
            yield from frames
        if self.damaged > good:
            raise self._mostly_damaged(good)

    def _packets(self) -> Iterator[Any]:
        """Read on behind what the container cannot make sense of."""
        packets = self._container.demux(self._stream)
        while self.damaged < _FEW:
            try:
                yield from packets
            except av.error.InvalidDataError:
                self.damaged += 1
                packets = self._container.demux(self._stream)
            except av.FFmpegError as error:
                raise VideoError(f"cannot be read on: {error.strerror}") from error
            else:
                return

    def _mostly_damaged(self, good: int) -> VideoError:
        return VideoError(f"cannot be decoded: {self.damaged} packets are damaged, {good} frames are not")

    def _shown(self, frame: Any) -> Image:
        """Return the pixels as they are to be seen."""
        matrix = _display_matrix(frame)
        aspect = float(self._stream.sample_aspect_ratio or 1)
        if aspect != 1:
            self._remarks[f"has pixels {aspect:.3g} times as wide as high; its frames are stretched"] = None
        height, width = frame.height, max(1, round(frame.width * aspect))
        turned = abs(matrix[0, 0]) < abs(matrix[0, 1])
        self.size = (width, height) if turned else (height, width)
        if self._covers is not None:
            share = min(1.0, max(want / has for want, has in zip(self._covers, self.size, strict=True)))
            height, width = max(1, round(height * share)), max(1, round(width * share))
        image = self._rgb(frame, height, width)
        # A pixel at (column, row) is shown at (column, row) @ matrix.
        image = image.transpose(1, 0, 2) if turned else image
        to_x, to_y = (matrix[1, 0], matrix[0, 1]) if turned else (matrix[0, 0], matrix[1, 1])
        return np.ascontiguousarray(image[:: -1 if to_y < 0 else 1, :: -1 if to_x < 0 else 1])

    def _rgb(self, frame: Any, height: int, width: int) -> Image:
        options: dict[str, Any] = {"width": width, "height": height}
        if (height, width) != (frame.height, frame.width):
            smaller = height * width < frame.height * frame.width
            options["interpolation"] = "AREA" if smaller else "BICUBIC"
        if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb and frame.height > _SD_ROWS:
            options["src_colorspace"] = _ITU709
        if frame.color_trc not in HDR:
            usual: Image = frame.reformat(format="rgb24", **options).to_ndarray()
            return usual
        self._remarks["is HDR; its frames are tone-mapped to what a photograph shows"] = None
        wide = frame.reformat(format="rgb48le", **options).to_ndarray()
        return tone_mapped(wide, frame.color_trc)


def _pulled(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _display_matrix(frame: Any) -> npt.NDArray[np.int32]:
    """Return the upper left part of FFmpeg's display matrix: the identity where a file states none."""
    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return np.eye(2, dtype=np.int32)
    return np.frombuffer(bytes(found), np.int32).reshape(3, 3)[:2, :2]
