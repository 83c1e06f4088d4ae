"""Turn a video file into a folder of JPEG frames at a lower frame rate, once.

Training needs frames in random order, which compressed video cannot give. It does not know intrinsics or
samples.
"""

import logging
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from training.data.frames import FrameError

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
_JPEG_QUALITY = 95
_LOG_EVERY = 500

Image = UInt8[np.ndarray, "height width 3"]


def extract_frames(video: Path, cache: Path, *, fps: float) -> Path:
    """Write the frames of a video, and return their folder; where that exists already, nothing is done.

    The folder appears when it is complete, so that an interrupted run leaves none behind that could be taken
    for the whole video. Its name holds the video's size and time of change, and the frame rate.

    Args:
        video: Anything that FFmpeg reads.
        cache: Where the folder is made.
        fps: Frames a second of the video's own time; a slower video gives all of its frames.

    Raises:
        FrameError: The file is not a video that can be decoded.
    """
    state = video.stat()
    folder = cache / f"{video.stem}-{state.st_size:x}-{state.st_mtime_ns:x}-{fps:g}fps"
    if folder.is_dir():
        return folder
    partial = cache / f".{folder.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir(parents=True)
    try:
        count = 0
        for count, image in enumerate(_frames(video, fps), start=1):
            path = partial / f"{count - 1:06}.jpg"
            written = cv2.imwrite(
                str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            )
            if not written:
                raise FrameError(path, "cannot be written")
            if count % _LOG_EVERY == 0:
                _log.info("%s: %d frames so far", video.name, count)
        if count == 0:
            raise FrameError(video, "has no frame")
        try:
            partial.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _log.info("%s: %d frames in %s", video.name, count, folder)
    return folder


def _frames(video: Path, fps: float) -> Iterator[Image]:
    """Decode upright RGB frames, the first at or after each tick of the wanted rate."""
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise FrameError(video, "has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            first_s: float | None = None
            ticks = 0
            for frame in container.decode(stream):
                at_s = frame.time
                if at_s is not None:
                    first_s = at_s if first_s is None else first_s
                    # A thousandth of a frame of tolerance: 3 x 1/30 s is a little less than 0.1 s in floats.
                    if (at_s - first_s) * fps < ticks - 1e-3:
                        continue
                    ticks = int((at_s - first_s) * fps + 1e-3) + 1
                image: Image = frame.to_ndarray(format="rgb24")
                yield np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
    except av.FFmpegError as error:
        raise FrameError(video, f"cannot be decoded: {error}") from error
