"""Anybody's video as samples: a folder of frames or a video file, of a camera that may be unknown.

Poses are never known here, and neither is scale. It does not know how intrinsics or poses are learned.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from training.data.frames import (
    Frame,
    FrameDataset,
    FrameError,
    Moment,
    MomentView,
    check_offsets,
    role_of,
)
from training.data.layout import Findings, images_in, read_header
from training.data.video_file import VIDEO_SUFFIXES, extract_frames

_log = logging.getLogger(__name__)

LAYOUT = """
either <folder>/<any name>.png or .jpg, the frames in the order of their names, all of one size
or     <video>.mp4, .mov, .mkv, .avi, .webm or .m4v
"""
START_FOV_DEG = 60.0
"""Where learned intrinsics start: between a phone held upright and a dash camera."""
_CHANGED_LEVELS = 8
"""Grey levels by which a pixel of a thumbnail must differ to count as changed; JPEG noise stays below."""

Thumbnail = UInt8[np.ndarray, "rows columns"]


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """What to read of a video, and what is known about its camera."""

    path: Path
    """A folder of frames, or a video file."""
    name: str = ""
    """Starts the frames' keys; none: the name of the folder or file."""
    focal_px: tuple[float, float] | None = None
    """Horizontal and vertical focal length in pixels of the frames, of a camera without distortion."""
    principal_px: tuple[float, float] | None = None
    """Where the axis meets the image, counted from 0 at the first pixel's centre; none: the middle."""
    fov_deg: float | None = None
    """Horizontal field of view, where the focal length is not known."""
    learn_intrinsics: bool = False
    """Whether the above, or a guess of 60 degrees, is only where learning starts."""
    fps: float = 10.0
    """Frames a second taken from a video file; at 30 to 60 the views would hardly differ."""
    every: int = 1
    """Of a folder, every so many-th frame is taken."""
    min_change: float = 0.01
    """A frame is static, and dropped, if fewer of its pixels than this share changed; 0 keeps all."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target among the frames that were kept."""
    max_gap: int = 10
    """Frames are not sources of each other when more than this many were dropped between them."""
    cache: Path = Path("cache/frames")
    """Where the frames of a video file are put."""

    def __post_init__(self) -> None:
        if self.focal_px is not None and self.fov_deg is not None:
            raise ValueError("both focal_px and fov_deg are given; expected one of them")
        if self.focal_px is None and self.fov_deg is None and not self.learn_intrinsics:
            raise ValueError("expected focal_px, fov_deg or learn_intrinsics")
        if self.fov_deg is not None and not 0 < self.fov_deg < 180:
            raise ValueError(f"fov_deg is {self.fov_deg}; expected more than 0 and less than 180")
        if self.focal_px is not None and min(self.focal_px) <= 0:
            raise ValueError(f"focal_px is {self.focal_px}; expected positive lengths")
        if self.fps <= 0 or self.every < 1 or self.max_gap < 0 or not 0 <= self.min_change < 1:
            raise ValueError(
                f"fps {self.fps}, every {self.every}, max_gap {self.max_gap}, min_change {self.min_change}; "
                "expected fps > 0, every >= 1, max_gap >= 0, 0 <= min_change < 1"
            )
        check_offsets(self.offsets)
        if not self.offsets:
            raise ValueError("offsets is empty; a video has no other source frames")


class Video(FrameDataset):
    """A video.

    Raises:
        LayoutError: With everything that is missing or unreadable.
    """

    def __init__(self, config: VideoConfig) -> None:
        name = f"video {config.path}"
        findings = Findings(name, LAYOUT)
        paths = _paths(config, findings)
        findings.raise_if_any()
        kept = moving(paths, config.min_change, findings)
        findings.raise_if_any()
        moments = list(_moments(config, paths, kept))
        if not moments:
            findings.add(config.path, f"of {len(paths)} frames {len(kept)} move; expected at least 2")
        findings.raise_if_any()
        _log.info("%s: %d of %d frames move", name, len(kept), len(paths))
        super().__init__(name, LAYOUT, moments)


def intrinsics_of(config: VideoConfig, height: int, width: int) -> Float32[np.ndarray, "3 3"]:
    """Return what is known about the camera, or the guess, with pixel centres at +0.5."""
    if config.focal_px is not None:
        focal_x, focal_y = config.focal_px
    else:
        fov_deg = START_FOV_DEG if config.fov_deg is None else config.fov_deg
        focal_x = focal_y = width / 2 / math.tan(math.radians(fov_deg) / 2)
    if config.principal_px is None:
        centre_x, centre_y = width / 2, height / 2
    else:
        centre_x, centre_y = config.principal_px[0] + 0.5, config.principal_px[1] + 0.5
    return np.array([[focal_x, 0, centre_x], [0, focal_y, centre_y], [0, 0, 1]], np.float32)


def moving(paths: Sequence[Path], min_change: float, findings: Findings) -> list[int]:
    """Return the numbers of the frames that differ from the one kept before.

    Without motion there is nothing to learn from, and a car that waits teaches that everything is far away.
    """
    if min_change == 0:
        return list(range(len(paths)))
    kept: list[int] = []
    last: Thumbnail | None = None
    with ThreadPoolExecutor(2) as pool:
        for number, thumbnail in enumerate(pool.map(_thumbnail, paths, chunksize=16)):
            if thumbnail is None:
                findings.add(paths[number], "cannot be decoded")
            elif last is None or _change(last, thumbnail) >= min_change:
                kept.append(number)
                last = thumbnail
    return kept


def _thumbnail(path: Path) -> Thumbnail | None:
    """A grey image of an eighth of the size: quick to decode, and without most of the noise."""
    thumbnail: Thumbnail | None = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    return thumbnail


def _change(before: Thumbnail, after: Thumbnail) -> float:
    """The share of pixels that changed; 1 where the size did."""
    if before.shape != after.shape:
        return 1.0
    return float(np.mean(cv2.absdiff(before, after) > _CHANGED_LEVELS))


def _paths(config: VideoConfig, findings: Findings) -> list[Path]:
    if config.path.is_dir():
        found = list(images_in(config.path).values())[:: config.every]
        if not found:
            findings.add(config.path, "has no .png or .jpg")
        return found
    if not findings.has_file(config.path, "a video, or a folder of frames"):
        return []
    if config.path.suffix.lower() not in VIDEO_SUFFIXES:
        findings.add(config.path, f"expected a folder, or a file of {', '.join(VIDEO_SUFFIXES)}")
        return []
    try:
        return list(images_in(extract_frames(config.path, config.cache, fps=config.fps)).values())
    except FrameError as error:
        findings.add(error.path, error.trouble)
        return []


def _moments(config: VideoConfig, paths: Sequence[Path], kept: Sequence[int]) -> Iterator[Moment]:
    header = read_header(paths[0])
    intrinsics = intrinsics_of(config, header.height, header.width)
    name = config.name or config.path.stem
    frames = [Frame(key=f"{name}/{paths[number].stem}", path=paths[number]) for number in kept]
    for place, frame in enumerate(frames):
        views = []
        for offset in config.offsets:
            other = place + offset
            if not 0 <= other < len(frames):
                continue
            dropped = abs(kept[other] - kept[place]) - abs(offset)
            if dropped <= config.max_gap:
                views.append(MomentView(frame=frames[other], source_T_target=None, role=role_of(offset)))
        if views:
            yield Moment(
                frame=frame,
                intrinsics=intrinsics,
                views=tuple(views),
                intrinsics_known=not config.learn_intrinsics,
            )
