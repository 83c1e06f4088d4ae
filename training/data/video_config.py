"""What to read of a video, and what is known about its camera.

It does not read anything.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from training.data.frames import check_offsets

_LENS_MARGIN = 1.5
"""How much larger frames are kept whose distortion is to be taken out, as that cuts their edges."""


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
    camera: str = ""
    """The name of the camera that is learned: videos of one name share it. None: the video's name."""
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
    rows: str = "0:1"
    """Shares of the rows between which frames are kept, as in 0:0.85 above a bonnet."""
    mask: Path | None = None
    """An image of the whole frame's shape, black where frames show what moves with the camera."""
    calibration: Path | None = None
    """A lens's calibration by OpenCV, ROS or Kalibr (YAML); its distortion is taken out of the frames."""
    calibration_camera: str = ""
    """Which camera of a chain of Kalibr's, as in cam1; none: there is only one."""
    resized: bool = False
    """Whether frames were resized since they were calibrated: the calibration is then scaled."""
    covers: tuple[int, int] | None = None
    """Height and width that the frames of a video file have to cover; larger ones are stored smaller. None:
    as training needs them."""
    cache: Path = Path("cache/frames")
    """Where the frames of a video file are put."""

    def __post_init__(self) -> None:
        if self.focal_px is not None and self.fov_deg is not None:
            raise ValueError("both focal_px and fov_deg are given; expected one of them")
        known = (self.focal_px, self.principal_px, self.fov_deg)
        if self.calibration is not None and (self.learn_intrinsics or any(one is not None for one in known)):
            raise ValueError("calibration is given, which says all of the camera; expected nothing beside it")
        if (
            self.calibration is None
            and self.focal_px is None
            and self.fov_deg is None
            and not self.learn_intrinsics
        ):
            raise ValueError("expected focal_px, fov_deg, calibration or learn_intrinsics")
        if self.resized and self.calibration is None:
            raise ValueError("resized is given without calibration, which it is about; expected both")
        if self.covers is not None and min(self.covers) < 1:
            raise ValueError(f"covers is {self.covers}; expected a height and a width of at least 1 pixel")
        span(self.rows)
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

    @property
    def keyed(self) -> str:
        """What the frames' keys start with."""
        return self.name or self.path.stem

    @property
    def camera_name(self) -> str:
        """What the camera is called that filmed it."""
        return self.camera or self.keyed

    @property
    def kept(self) -> tuple[float, float]:
        """The shares of the rows between which frames are kept."""
        return span(self.rows)

    @property
    def stored(self) -> tuple[int, int] | None:
        """The height and width that a video file's frames have to cover where they are stored."""
        if self.covers is None:
            return None
        top, bottom = self.kept
        margin = 1.0 if self.calibration is None else _LENS_MARGIN
        height, width = self.covers
        return math.ceil(height * margin / (bottom - top)), math.ceil(width * margin)


def span(text: str) -> tuple[float, float]:
    """Read ``0:0.85``.

    Raises:
        ValueError: It is no such range, or leaves less than a tenth of the rows.
    """
    parts = text.split(":")
    try:
        top, bottom = (float(part) for part in parts)
    except ValueError:
        raise ValueError(f"rows is {text!r}; expected two shares of the height, as in 0:0.85") from None
    if not 0 <= top < bottom <= 1 or bottom - top < 0.1:
        raise ValueError(f"rows is {text!r}; expected 0 <= from < to <= 1, at least a tenth of the rows")
    return top, bottom
