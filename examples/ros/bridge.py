"""Pictures of a camera in, depth messages out: what a ROS node does, without ROS."""

import logging
import queue
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from depth_client import CameraHeight, DepthClient, DepthResult, Intrinsics
from depth_client.question import Wanted

from .conversions import Encoding, UnfitMessage, depth_image, header_of, info_of, lens_of
from .messages import CameraInfo, Header, Image
from .pictures import picture_of

logger = logging.getLogger(__name__)
_MOST_WAITING = 8
_AGAIN_S = 5.0
_END = None


@dataclass(frozen=True, kw_only=True)
class BridgeOptions:
    """How depth is asked for, and published."""

    encoding: Encoding = "32FC1"
    as_sent: bool = True
    """Depth of the picture's own size; otherwise of the network's, which is smaller and quicker to send."""
    latest: bool = True
    """Whether a picture that waits gives its place to a newer one; for bags, every one counts."""
    steadiness: float = 0.8
    """How firmly depth is held from picture to picture, from 0 (not at all) to 1."""
    farthest_m: float | None = None
    """What lies beyond is published as out of range."""
    camera_height_m: float | None = None
    """Over flat ground that is seen: makes relative depth metric."""
    model: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraFrame:
    """A picture, with the calibration that came with it."""

    header: Header
    image: bytes | npt.NDArray[np.uint8]
    info: Any
    """A CameraInfo."""
    lens: Intrinsics | None


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthMessages:
    """What is published for a picture; all of it has the picture's stamp and frame."""

    depth: Image
    info: CameraInfo
    result: DepthResult
    skipped: int
    """Pictures that gave their place to this one."""


class Pairing:
    """Puts each picture together with the calibration of its camera, which is sent beside it."""

    def __init__(self) -> None:
        self._infos: dict[str, Any] = {}
        self._told = Throttled()

    def take_info(self, info: Any) -> None:
        """Remember a CameraInfo."""
        self._infos[_frame(info)] = info

    def take_image(self, message: Any) -> CameraFrame | None:
        """Return a picture with its calibration; None as long as there is none for its frame.

        Raises:
            UnfitMessage: No depth can be made of it.
        """
        header = header_of(message)
        info = self._infos.get(_frame(message))
        if info is None:
            known = ", ".join(map(repr, sorted(self._infos))) or "none at all"
            self._told.warn(
                "no depth: pictures come in frame %r, and CameraInfos of %s", _frame(message), known
            )
            return None
        image, size = picture_of(message)
        return CameraFrame(header=header, image=image, info=info, lens=lens_of(info, size))


def _frame(message: Any) -> str:
    """Return a message's frame; tf's first version put a slash before it, which means nothing."""
    name: str = message.header.frame_id
    return name.removeprefix("/")


class Throttled:
    """Says a thing in the log, and not again for a while."""

    def __init__(self) -> None:
        self._told_at_s: dict[str, float] = {}

    def warn(self, message: str, *words: object) -> None:
        """Warn, unless the same message was told within the last seconds."""
        now_s = time.monotonic()
        if now_s - self._told_at_s.get(message, -_AGAIN_S) >= _AGAIN_S:
            self._told_at_s[message] = now_s
            logger.warning(message, *words)


class Feed:
    """An iterable of frames that another thread's callbacks fill; the oldest give way where nobody reads."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[CameraFrame | None] = queue.Queue(_MOST_WAITING)

    def put(self, frame: CameraFrame | None) -> None:
        """Add a frame."""
        while True:
            try:
                self._waiting.put_nowait(frame)
                return
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                except queue.Empty:
                    continue

    def close(self) -> None:
        """End it, once what waits has been read."""
        self.put(_END)

    def __iter__(self) -> Iterator[CameraFrame]:
        while (frame := self._waiting.get()) is not _END:
            yield frame
        self.put(_END)  # there may be another reader, left behind by a stream that broke


class DepthBridge:
    """Asks a service for the depth of a camera's pictures.

    Args:
        client: Over HTTP or gRPC.
        options: How.
    """

    def __init__(self, client: DepthClient, options: BridgeOptions | None = None) -> None:
        self._client, self._options = client, options or BridgeOptions()
        self._told = Throttled()

    def answers(self, frames: Iterable[CameraFrame]) -> Iterator[DepthMessages]:
        """Yield the messages of each picture that there is depth for, in their order.

        A picture without depth is told to the log and left out. Where the lens changes (another camera,
        another zoom), a new stream is begun.

        Raises:
            ServiceError: The stream cannot be had, or broke.
            UnfitMessage: The service's depth is relative.
        """
        cameras = _Cameras(frames)
        while cameras.waiting is not None:
            yield from self._of_one_camera(cameras, cameras.waiting.lens)

    def _of_one_camera(self, cameras: "_Cameras", lens: Intrinsics | None) -> Iterator[DepthMessages]:
        if lens is None:
            raise UnfitMessage("the camera is not calibrated: its CameraInfo has neither P nor K")
        options = self._options
        wanted: Wanted = {"lens": lens, "size": "input" if options.as_sent else "model"}
        if options.model is not None:
            wanted["model"] = options.model
        if options.camera_height_m is not None:
            wanted["anchor"] = CameraHeight(height_m=options.camera_height_m)
        for answer in self._client.stream(
            cameras.of(lens), latest=options.latest, steadiness=options.steadiness, **wanted
        ):
            if answer.result is None:
                logger.warning("no depth for the picture at %s: %s", answer.frame.header.stamp, answer.error)
                continue
            header, result = answer.frame.header, answer.result
            if result.notice:
                self._told.warn("the picture at %s: %s", header.stamp, result.notice)
            yield DepthMessages(
                depth=depth_image(header, result, options.encoding, farthest_m=options.farthest_m),
                info=info_of(header, answer.frame.info, result),
                result=result,
                skipped=answer.skipped,
            )


class _Cameras:
    """Frames in runs of one lens each."""

    def __init__(self, frames: Iterable[CameraFrame]) -> None:
        self._frames = iter(frames)
        self.waiting = next(self._frames, None)

    def of(self, lens: Intrinsics) -> Iterator[CameraFrame]:
        while self.waiting is not None and self.waiting.lens == lens:
            yield self.waiting
            self.waiting = next(self._frames, None)
