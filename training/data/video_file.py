"""Turn a video file into a folder of JPEG frames at a lower frame rate, once.

Training needs frames in random order, which compressed video cannot give.
"""

import errno
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from model.footage import VideoError, VideoFrame, VideoReader
from training.data.frames import FrameError
from training.data.layout import images_in

_log = logging.getLogger(__name__)

_JPEG_QUALITY = 95
_LOG_EVERY = 500
_DESCRIPTION = "frames.json"
_GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A video as a folder of frames."""

    paths: tuple[Path, ...]
    """In their order."""
    stretches: tuple[int, ...]
    """Of each frame; where the number changes, a frame does not follow on the one before."""
    size: tuple[int, int]
    """Height and width of the video as a player shows it; frames may be smaller, in the same shape."""
    remarks: tuple[str, ...]
    """What was done to the frames, for people."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What the frames of a video will take on disk."""

    frames: int
    frame_bytes: int
    """Of the first frame."""
    free_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Of all frames, if they are like the first."""
        return self.frames * self.frame_bytes

    def __str__(self) -> str:
        return (
            f"about {self.frames} frames of {self.frame_bytes / 1e3:.0f} KB, "
            f"{self.needed_bytes / _GB:.1f} GB; {self.free_bytes / _GB:.1f} GB are free"
        )


def extracted_folder(video: Path, cache: Path, *, fps: float, covers: tuple[int, int] | None = None) -> Path:
    """Return where the frames of a video lie, once they are extracted.

    The name holds the video's size and time of change, and all that decides the frames.
    """
    state = video.stat()
    size = "" if covers is None else f"-{covers[1]}x{covers[0]}"
    return cache / f"{video.stem}-{state.st_size:x}-{state.st_mtime_ns:x}-{fps:g}fps{size}"


def foretell_space(
    video: Path, cache: Path, *, fps: float, covers: tuple[int, int] | None = None
) -> Space | None:
    """Return what a video's frames will take, by its first frame; None where they are extracted already.

    Raises:
        FrameError: The file is not a video that can be decoded.
    """
    if extracted_folder(video, cache, fps=fps, covers=covers).is_dir():
        return None
    try:
        with VideoReader(video, covers=covers) as reader:
            first = reader.next()
            duration_s = reader.duration_s or 0.0
            rate = min(fps, float(reader.rate))
    except VideoError as error:
        raise FrameError(video, str(error)) from error
    if first is None:
        raise FrameError(video, "has no frame")
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    return Space(
        frames=max(1, round(duration_s * rate)),
        frame_bytes=len(_encoded(first)),
        free_bytes=shutil.disk_usage(place).free,
    )


def extract_frames(
    video: Path, cache: Path, *, fps: float, covers: tuple[int, int] | None = None
) -> Extracted:
    """Write the frames of a video; where they lie already, nothing is done.

    The folder appears when it is complete, so that an interrupted run leaves none behind that could be taken
    for the whole video.

    Args:
        video: Anything that FFmpeg reads.
        cache: Where the folder is made.
        fps: Frames a second of the video's own time; a slower video gives all of its frames.
        covers: Height and width; larger frames are shrunk as far as both sides stay at least these.

    Raises:
        FrameError: The file is not a video that can be decoded.
        OSError: The disk has no room for the frames.
    """
    folder = extracted_folder(video, cache, fps=fps, covers=covers)
    space = foretell_space(video, cache, fps=fps, covers=covers)
    if space is None:
        return _described(folder)
    _log.info("%s: %s, in %s", video.name, space, folder)
    if space.needed_bytes > space.free_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    partial = cache / f".{folder.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir(parents=True)
    try:
        _write(video, partial, fps, covers)
        try:
            partial.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    extracted = _described(folder)
    _log.info("%s: %d frames in %s", video.name, len(extracted.paths), folder)
    for remark in extracted.remarks:
        _log.warning("%s %s", video, remark)
    return extracted


def _write(video: Path, folder: Path, fps: float, covers: tuple[int, int] | None) -> None:
    stretches: list[int] = []
    try:
        with VideoReader(video, covers=covers) as reader:
            for frame in sampled(reader, fps):
                (folder / f"{len(stretches):06}.jpg").write_bytes(_encoded(frame))
                stretches.append(frame.stretch)
                if len(stretches) % _LOG_EVERY == 0:
                    _log.info("%s: %d frames so far", video.name, len(stretches))
    except VideoError as error:
        raise FrameError(video, str(error)) from error
    if not stretches:
        raise FrameError(video, "has no frame")
    said = {"stretches": stretches, "size": reader.size, "remarks": reader.remarks}
    (folder / _DESCRIPTION).write_text(json.dumps(said))


def _described(folder: Path) -> Extracted:
    try:
        said = json.loads((folder / _DESCRIPTION).read_text())
        extracted = Extracted(
            paths=tuple(images_in(folder).values()),
            stretches=tuple(said["stretches"]),
            size=tuple(said["size"]),
            remarks=tuple(said["remarks"]),
        )
    except (OSError, ValueError, KeyError) as error:
        raise FrameError(folder, f"is incomplete ({error}); delete it, and it is made anew") from error
    if len(extracted.paths) != len(extracted.stretches):
        there, made = len(extracted.paths), len(extracted.stretches)
        raise FrameError(folder, f"has {there} of {made} frames; delete it, and it is made anew")
    return extracted


def sampled(frames: Iterator[VideoFrame] | VideoReader, fps: float) -> Iterator[VideoFrame]:
    """Yield the first frame at or after each tick of the wanted rate; each stretch has its own clock."""
    stretch, first_s, ticks = -1, 0.0, 0
    for frame in frames:
        if frame.time_s is not None:
            if frame.stretch != stretch:
                stretch, first_s, ticks = frame.stretch, frame.time_s, 0
            # A thousandth of a frame of tolerance: 3 x 1/30 s is a little less than 0.1 s in floats.
            at = (frame.time_s - first_s) * fps
            if at < ticks - 1e-3:
                continue
            ticks = int(at + 1e-3) + 1
        yield frame


def _encoded(frame: VideoFrame) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    written, data = cv2.imencode(".jpg", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), quality)
    if not written:
        raise VideoError(f"has a frame of {frame.rgb.shape} that cannot be written as JPEG")
    return data.tobytes()
