"""A video to a video of itself beside its depth, and to files of each frame where these are wanted.

Frames stream through: how long the video is does not matter to memory.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from model.images import resize_image
from model.view import View, predict_by_shape
from service.backends import Backend
from service.codec import DecodedImage
from service.codec.cameras import Camera
from service.codec.colour import colour_depth
from service.codec.encode import EncodeOptions
from service.codec.measure import Scene
from service.codec.rectify import rectify_image
from service.codec.scale import Scale
from service.codec.steadiness import SeenFrame, Steadier
from service.contract.basis import facts
from service.contract.errors import InvalidArgument, ServiceError
from service.contract.pose import Pose
from service.contract.request import Colour
from service.predict.colour_range import ColourRange
from service.predict.inputs import Input
from service.predict.outputs import FRAMES, SIDE_BY_SIDE, Failed, Outputs, Stored, Written
from service.predict.overlap import overlapped
from service.predict.photographs import MAX_PIXELS, reason, write_depth
from service.predict.scene import Known
from service.predict.video_file import VideoError, VideoReader, VideoWriter

_log = logging.getLogger(__name__)

_LEAST_SIDE_PX = 16
_COLOUR_MAP = "turbo"

Image = UInt8[np.ndarray, "height width 3"]
Depth = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are written."""

    colour: Colour
    steadiness: float
    """How firmly depth is held from frame to frame, from 0 (each by itself) to 1."""
    poses: Sequence[Pose] | None
    """The camera's, one a frame."""
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
    seen: np.ndarray
    """The network's input."""
    size: tuple[int, int]
    """Height and width of the frame itself."""
    panel: Image
    """At the size of half the side-by-side video."""
    rgb: Image | None
    """At its own size, where that is needed."""


def predict_video(
    video: Input,
    backend: Backend,
    known: Known,
    outputs: Outputs,
    options: VideoOptions,
    on_progress: Callable[[int, int | None], None],
) -> Written | Failed:
    """Write the side-by-side video, and its frames where wanted.

    Args:
        video: The file.
        backend: Asked from this thread.
        known: Of all frames; a scale by an anchor is taken from the first frame and kept.
        outputs: Where to.
        options: How.
        on_progress: Told after each frame how many are done, and of how many, where that is known.
    """
    try:
        with closing(VideoReader(video.path)) as reader:
            return _predict(video, reader, backend, known, outputs, options, on_progress)
    # ValueError: depth that is not positive and finite, as a damaged network gives it.
    except (VideoError, ServiceError, OSError, ValueError) as error:
        return Failed(input=str(video.path), error=reason(error))


def _predict(
    video: Input,
    reader: VideoReader,
    backend: Backend,
    known: Known,
    outputs: Outputs,
    options: VideoOptions,
    on_progress: Callable[[int, int | None], None],
) -> Written:
    target = outputs.path(video.stem, SIDE_BY_SIDE)
    keep_rgb = options.frames and outputs.need_photographs
    frames = _FrameReader(reader, known.view, options, known.knowledge.camera, keep_rgb=keep_rgb)
    with outputs.writing(target) as partial:
        with VideoWriter(partial, rate=reader.rate, time_base=reader.time_base) as writer:
            finisher = _FrameFinisher(video, known, outputs, options, writer)
            answers = overlapped(
                repeat(frames.next),
                lambda batch: predict_by_shape([frame.seen for frame in batch], backend.predict),
                finisher.finish,
                batch=backend.max_batch,
                preparers=1,  # frames come one after the other,
                finishers=1,  # and so do their scale, their colours and their places in the file
            )
            with closing(answers):
                for done, answer in enumerate(answers, start=1):
                    answer.result()
                    on_progress(done, reader.expected_frames)
        for remark in reader.remarks:
            _log.warning("%s %s", video.path, remark)
        return finisher.written(Stored(path=str(target)))


class _FrameReader:
    """Frames, made ready for the network and for the eye."""

    def __init__(
        self,
        reader: VideoReader,
        view: View,
        options: VideoOptions,
        camera: Camera | None,
        *,
        keep_rgb: bool,
    ) -> None:
        self._camera = camera if camera is not None and camera.distorts else None
        self._reader, self._view, self._options, self._keep_rgb = reader, view, options, keep_rgb
        self._panel: tuple[int, int] | None = None

    def next(self) -> _Frame | None:
        frame = self._reader.next()
        if frame is None:
            return None
        rgb = frame.rgb
        height, width = rgb.shape[:2]
        if self._camera is not None:
            rgb = rectify_image(rgb, self._camera, height, width)
        self._panel = self._panel or panel_size(height, width, self._options.panel_width)
        pixels = resize_image(rgb, *self._view.size(height, width))
        return _Frame(
            index=frame.index,
            ticks=frame.ticks,
            pixels=pixels,
            seen=pixels if self._view.fractions else self._view.prepare(rgb),
            size=(height, width),
            panel=resize_image(rgb, *self._panel),
            rgb=rgb if self._keep_rgb else None,
        )


class _FrameFinisher:
    """Depth, colours and files of one frame after the other, and what there is to say of all of them."""

    def __init__(
        self, video: Input, known: Known, outputs: Outputs, options: VideoOptions, writer: VideoWriter
    ) -> None:
        self._video, self._known, self._outputs, self._options = video, known, outputs, options
        self._writer = writer
        self._steadier = Steadier(options.steadiness) if options.steadiness else None
        self._range = ColourRange(options.colour)
        self._scale: Scale | None = None
        self._notice = ""
        self._size = (0, 0)
        self._minimum, self._maximum, self._count = float("inf"), 0.0, 0
        self._files: dict[str, Stored] = {}

    def finish(self, frame: _Frame, output: Any) -> None:
        image = DecodedImage(pixels=frame.pixels, height=frame.size[0], width=frame.size[1])
        height, width = frame.pixels.shape[:2]
        observed = self._known.observe(image, output, (height, width))
        scene, disparity = observed.scene, observed.disparity
        if self._scale is None:
            (self._scale, notice), self._size = scene.scale_of(disparity, *frame.size), frame.size
            self._notice = observed.notice_of(self._scale, notice)
        disparity = scene.bounded(self._steady(frame, disparity, scene))
        height, width = frame.size if self._options.frames else frame.panel.shape[:2]
        depth = self._scale.map(disparity, height, width)
        colour = self._range.of(depth)
        colours = colour_depth(depth, name=colour.map or _COLOUR_MAP, near=colour.near, far=colour.far)
        half = resize_image(colours, *frame.panel.shape[:2])
        self._writer.write(np.concatenate([frame.panel, half], axis=1), frame.ticks)
        if self._options.frames:
            farthest = self._scale.farthest(scene.farthest)
            encoding = EncodeOptions(
                unit=self._scale.unit,
                colour=colour,
                intrinsics=scene.lens_of_map(height, width),
                rgb=frame.rgb,
                scale=self._scale,
                surfaces=self._outputs.surfaces(frame.pixels.shape[:2], farthest),
                ply_max_pixels=MAX_PIXELS,
            )
            self._write_frame(frame, depth, encoding)
        if (known := depth[np.isfinite(depth)]).size:
            self._minimum = min(self._minimum, float(known.min()))
            self._maximum = max(self._maximum, float(known.max()))
        self._count += 1

    def _steady(
        self, frame: _Frame, disparity: Float32[np.ndarray, "rows columns"], scene: Scene
    ) -> Float32[np.ndarray, "rows columns"]:
        if self._steadier is None:
            return disparity
        view = None
        if (poses := self._options.poses) is not None:
            if frame.index >= len(poses):
                raise InvalidArgument(
                    f"--poses has {len(poses)} lines, and the video more frames; expected as many"
                )
            view = scene.view_of(disparity, poses[frame.index])
        seen = SeenFrame(pixels=frame.pixels, disparity=disparity, source=frame.size, view=view)
        return self._steadier.steady(seen)

    def written(self, side_by_side: Stored) -> Written:
        if self._scale is None:
            raise VideoError("has no frame that can be decoded")
        if (poses := self._options.poses) is not None and len(poses) != self._count:
            raise InvalidArgument(
                f"--poses has {len(poses)} lines and the video {self._count} frames; expected as many"
            )
        return Written(
            input=str(self._video.path),
            height=self._size[0],
            width=self._size[1],
            unit=self._scale.unit,
            scale_source=self._scale.source,
            network_scale=self._scale.factor,
            minimum=min(self._minimum, self._maximum),
            maximum=self._maximum,
            files={"side_by_side": side_by_side, **self._files},
            frames=self._count,
            basis=facts(self._scale.basis) or None,
            notice=self._notice or None,
        )

    def _write_frame(self, frame: _Frame, depth: Depth, encoding: EncodeOptions) -> None:
        folder = self._outputs.path(self._video.stem, FRAMES).relative_to(self._outputs.folder)
        files = write_depth(depth, folder / f"{frame.index:06}", encoding, self._outputs)
        for kind, one in files.items():
            before = self._files.get(kind)
            if before is None or before.invalid == "none":
                path = str(self._outputs.folder / folder)
                self._files[kind] = Stored(path=path, scale=one.scale, invalid=one.invalid)


def panel_size(height: int, width: int, most_width: int) -> tuple[int, int]:
    """Return the size of half the video: both sides even, as H.264 has it, and no wider than asked for."""
    share = min(1.0, most_width / width)
    return tuple(max(_LEAST_SIDE_PX, round(side * share / 2) * 2) for side in (height, width))  # type: ignore[return-value]
