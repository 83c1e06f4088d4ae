"""Where frames come from: a folder, a video or a camera, each read only as fast as it is asked for."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from depth_client.errors import InvalidArgument
from depth_client.footage import natural_key

if TYPE_CHECKING:
    import cv2

    from depth_client.footage import VideoReader

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif")


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceFrame:
    """One frame, with where and when it is from."""

    image: bytes | npt.NDArray[np.uint8]
    """A file's bytes, or RGB pixels."""
    index: int
    """From 0, in its source."""
    name: str
    """The file's path below its folder; of videos and cameras, the index."""
    time_s: float | None
    """In a video from its beginning, of a camera by ``time.time``; None of files."""


def folder(path: Path | str) -> Iterator[SourceFrame]:
    """Yield the pictures in a folder and its folders, in the order of their names, ``2`` before ``10``.

    Raises:
        InvalidArgument: It is no folder, or holds no picture.
    """
    root = Path(path)
    found = (file for file in root.rglob("*") if file.suffix.lower() in PICTURES)
    files = sorted((file for file in found if not file.name.startswith(".")), key=natural_key)
    if not files:
        raise InvalidArgument(f"{root} holds no picture; expected a folder with {', '.join(PICTURES)}")
    return _read_files(root, files)


def video(path: Path | str) -> Iterator[SourceFrame]:
    """Yield the frames of a video as a player shows them: upright, of square pixels, HDR tone-mapped.

    Raises:
        InvalidArgument: PyAV is not installed, or it is no video.
    """
    try:
        from depth_client.footage import VideoError, VideoReader
    except ImportError as error:
        raise InvalidArgument("videos need PyAV; expected it by pip install av") from error
    try:
        return _decode(VideoReader(Path(path)), path)
    except VideoError as error:
        raise InvalidArgument(f"{path} {error}") from error


def camera(device: int | str = 0) -> Iterator[SourceFrame]:
    """Yield what a camera sees until it is gone; close the iterator to let go of it.

    Args:
        device: Its number, or the address of a stream that OpenCV reads, such as ``rtsp://...``.

    Raises:
        InvalidArgument: OpenCV is not installed, or there is no such camera.
    """
    try:
        import cv2
    except ImportError as error:
        raise InvalidArgument(
            "cameras need OpenCV; expected it by pip install opencv-python-headless"
        ) from error
    capture = cv2.VideoCapture(device)
    if not capture.isOpened():
        capture.release()
        raise InvalidArgument(f"there is no camera {device!r} that OpenCV could open")
    # What the driver queues is old by the time it is asked for.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _capture(capture)


def _read_files(root: Path, files: list[Path]) -> Iterator[SourceFrame]:
    for index, file in enumerate(files):
        name = str(file.relative_to(root))
        yield SourceFrame(image=file.read_bytes(), index=index, name=name, time_s=None)


def _decode(reader: "VideoReader", path: Path | str) -> Iterator[SourceFrame]:
    from depth_client.footage import VideoError

    with reader:
        try:
            for frame in reader:
                name = f"{frame.index:06}"
                yield SourceFrame(image=frame.rgb, index=frame.index, name=name, time_s=frame.time_s)
        except VideoError as error:
            raise InvalidArgument(f"{path} {error}") from error


def _capture(capture: "cv2.VideoCapture") -> Iterator[SourceFrame]:
    try:
        index = 0
        while True:
            seen, bgr = capture.read()
            if not seen:
                return
            image = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
            yield SourceFrame(image=image, index=index, name=f"{index:06}", time_s=time.time())
            index += 1
    finally:
        capture.release()
