"""Messages of cameras that do not exist."""

from typing import Any

import numpy as np

from examples.ros.messages import CameraInfo, Header, Image, RegionOfInterest, Time

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id="camera_optical_frame")
RGB = np.random.default_rng(0).integers(0, 255, (3, 5, 3), np.uint8)


def image(rgb: np.ndarray = RGB, *, header: Header = HEADER, padding: int = 3) -> Image:
    """A bgr8 picture whose rows end in bytes that mean nothing."""
    height, width = rgb.shape[:2]
    rows = np.full((height, width * 3 + padding), 255, np.uint8)
    rows[:, : width * 3] = rgb[..., ::-1].reshape(height, -1)
    step = rows.shape[1]
    data = rows.tobytes()
    return Image(header=header, height=height, width=width, encoding="bgr8", step=step, data=data)


def info(*, header: Header = HEADER, focal_px: float = 4.0, tx: float = 0.0, **changed: Any) -> CameraInfo:
    """A calibrated camera of 5 x 3 pixels, with its axis through the middle pixel's centre."""
    k = np.array([focal_px, 0, 2, 0, focal_px, 1, 0, 0, 1])
    p = np.array([focal_px, 0, 2, tx, 0, focal_px, 1, 0, 0, 0, 1, 0])
    given = {"k": k, "p": p, "roi": RegionOfInterest(), **changed}
    return CameraInfo(header=header, height=3, width=5, **given)
