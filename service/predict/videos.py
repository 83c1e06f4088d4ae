"""A video to a video of itself beside its depth, and to files of each frame where these are wanted.

Frames stream through: how long the video is does not matter to memory. It does not know command lines.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from jaxtyping import Float32, UInt8

from model.images import disparity_to_depth_map, resize_image
from service.backends import Backend
from service.codec.colour import colour_depth
from service.codec.encode import EncodeOptions
from service.errors import ServiceError
from service.predict.colour_range import ColourRange
from service.predict.inputs import Input
from service.predict.outputs import FRAMES, SIDE_BY_SIDE, Failed, Outputs, Stored, Written
from service.predict.overlap import overlapped
from service.predict.photographs import MAX_PIXELS, reason, write_depth
from service.predict.scene import Scale, Scene
from service.predict.video_file import VideoError, VideoReader, VideoWriter
from service.request import Colour, Format
from service.smoothing import ScaleSmoother

_LEAST_SIDE_PX = 16
_COLOUR_MAP = "turbo"

Image = UInt8[np.ndarray, "height width 3"]
Depth = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are written."""

    colour: Colour
    smoothing: float
    """Strength of scale smoothing, from 0 (off) to below 1."""
    panel_width: int
    """Of each half of the side-by-side video at most, in pixels."""
    frames: bool
    """Whether each frame is written in the output's formats, too."""


@dataclass(frozen=True, kw_only=True)
class _Frame:
    index: int
    ticks: int
    pixels: Image
    """At the network's size."""
    size: tuple[int, int]
    """Height and width of the frame itself."""
    panel: Image
    """At the size of half the side-by-side video."""
    rgb: Image | None
    """At its own size, where that is needed."""


def predict_video(
    video: Input,
    backend: Backend,
    scene: Scene,
    outputs: Outputs,
    options: VideoOptions,
    on_progress: Callable[[int, int | None], None],
) -> Written | Failed:
    """Write the side-by-side video, and its frames where wanted.

    Args:
        video: The file.
        backend: Asked from this thread.
        scene: What is known; a scale by an anchor is taken from the first frame and kept.
        outputs: Where to.
        options: How.
        on_progress: Told after each frame how many are done, and of how many, where that is known.
    """
    try:
        with closing(VideoReader(video.path)) as reader:
            return _predict(video, reader, backend, scene, outputs, options, on_progress)
    # ValueError: depth that is not positive and finite, as a damaged network gives it.
    except (VideoError, ServiceError, OSError, ValueError) as error:
        return Failed(input=str(video.path), error=reason(error))


def _predict(
    video: Input,
    reader: VideoReader,
    backend: Backend,
    scene: Scene,
    outputs: Outputs,
    options: VideoOptions,
    on_progress: Callable[[int, int | None], None],
) -> Written:
    target = outputs.path(video.stem, SIDE_BY_SIDE)
    frames = _FrameReader(reader, backend, options, keep_rgb=options.frames and Format.PLY in outputs.formats)
    with outputs.writing(target) as partial:
        with VideoWriter(partial, rate=reader.rate, time_base=reader.time_base) as writer:
            finisher = _FrameFinisher(video, scene, outputs, options, writer)
            answers = overlapped(
                repeat(frames.next),
                lambda batch: backend.predict(np.stack([frame.pixels for frame in batch])),
                finisher.finish,
                batch=backend.max_batch,
                preparers=1,  # frames come one after the other,
                finishers=1,  # and so do their scale, their colours and their places in the file
            )
            with closing(answers):
                for done, answer in enumerate(answers, start=1):
                    answer.result()
                    on_progress(done, reader.expected_frames)
        return finisher.written(Stored(path=str(target)))


class _FrameReader:
    """Frames, made ready for the network and for the eye."""

    def __init__(
        self, reader: VideoReader, backend: Backend, options: VideoOptions, *, keep_rgb: bool
    ) -> None:
        self._reader, self._backend, self._options, self._keep_rgb = reader, backend, options, keep_rgb
        self._panel: tuple[int, int] | None = None

    def next(self) -> _Frame | None:
        frame = self._reader.next()
        if frame is None:
            return None
        height, width = frame.rgb.shape[:2]
        self._panel = self._panel or panel_size(height, width, self._options.panel_width)
        return _Frame(
            index=frame.index,
            ticks=frame.ticks,
            pixels=resize_image(frame.rgb, self._backend.height, self._backend.width),
            size=(height, width),
            panel=resize_image(frame.rgb, *self._panel),
            rgb=frame.rgb if self._keep_rgb else None,
        )


class _FrameFinisher:
    """Depth, colours and files of one frame after the other, and what there is to say of all of them."""

    def __init__(
        self, video: Input, scene: Scene, outputs: Outputs, options: VideoOptions, writer: VideoWriter
    ) -> None:
        self._video, self._scene, self._outputs, self._options = video, scene, outputs, options
        self._writer = writer
        self._smoother = ScaleSmoother(options.smoothing) if options.smoothing else None
        self._range = ColourRange(options.colour)
        self._scale: Scale | None = None
        self._size = (0, 0)
        self._minimum, self._maximum, self._count = float("inf"), 0.0, 0
        self._files: dict[str, Stored] = {}

    def finish(self, frame: _Frame, disparity: Float32[np.ndarray, "rows columns"]) -> None:
        if self._scale is None:
            self._scale, self._size = self._scene.scale_of(disparity, *frame.size), frame.size
        height, width = frame.size if self._options.frames else frame.panel.shape[:2]
        depth = disparity_to_depth_map(disparity, height, width, self._scale.factor)
        if self._smoother is not None:
            depth *= np.float32(self._smoother.factor(depth))
        colour = self._range.of(depth)
        colours = colour_depth(depth, name=colour.map or _COLOUR_MAP, near=colour.near, far=colour.far)
        half = resize_image(colours, *frame.panel.shape[:2])
        self._writer.write(np.concatenate([frame.panel, half], axis=1), frame.ticks)
        if self._options.frames:
            self._write_frame(frame, depth, colour, self._scale)
        self._minimum = min(self._minimum, float(depth.min()))
        self._maximum = max(self._maximum, float(depth.max()))
        self._count += 1

    def written(self, side_by_side: Stored) -> Written:
        if self._scale is None:
            raise VideoError("has no frame that can be decoded")
        return Written(
            input=str(self._video.path),
            height=self._size[0],
            width=self._size[1],
            unit=self._scale.unit,
            scale_source=self._scale.source,
            scale=self._scale.factor,
            minimum=self._minimum,
            maximum=self._maximum,
            files={"side_by_side": side_by_side, **self._files},
            frames=self._count,
        )

    def _write_frame(self, frame: _Frame, depth: Depth, colour: Colour, scale: Scale) -> None:
        encoding = EncodeOptions(
            unit=scale.unit,
            colour=colour,
            intrinsics=self._scene.intrinsics(*depth.shape, of=frame.size),
            rgb=frame.rgb,
            ply_max_pixels=MAX_PIXELS,
        )
        folder = self._outputs.path(self._video.stem, FRAMES).relative_to(self._outputs.folder)
        files = write_depth(depth, folder / f"{frame.index:06}", encoding, self._outputs)
        self._files = self._files or {
            kind: Stored(path=str(self._outputs.folder / folder), scale=one.scale, invalid=one.invalid)
            for kind, one in files.items()
        }


def panel_size(height: int, width: int, most_width: int) -> tuple[int, int]:
    """Return the size of half the video: both sides even, as H.264 has it, and no wider than asked for."""
    share = min(1.0, most_width / width)
    return tuple(max(_LEAST_SIDE_PX, round(side * share / 2) * 2) for side in (height, width))  # type: ignore[return-value]
