"""Between ROS messages and what the client takes and gives: intrinsics and depth.

Two conventions meet here. In ROS the first pixel's centre is at 0, in the service it is at 0.5: intrinsics
differ by half a pixel.
"""

from typing import Any, Literal

import numpy as np

from depth_client import DepthResult, Intrinsics
from depth_client.images import encode_png

from .messages import CameraInfo, CompressedImage, Floats, Header, Image, Time

Encoding = Literal["32FC1", "16UC1"]
"""Metres as float32, or whole millimetres; REP 118 has both, and asks consumers for the first only."""
_FARTHEST_MM = 65535
_COMPRESSED_DEPTH = "16UC1; compressedDepth png"
_CONFIG_HEADER = bytes(12)
"""What compressed_depth_image_transport puts before the PNG; of 16UC1 nobody reads it."""


class UnfitMessage(ValueError):  # noqa: N818 - read as words, like the errors of the service
    """A message that no depth can be made of; the text says why."""


def header_of(message: Any) -> Header:
    """Return a message's header as a record of our own: depth keeps its picture's stamp and frame."""
    stamp = message.header.stamp
    return Header(stamp=Time(sec=stamp.sec, nanosec=stamp.nanosec), frame_id=message.header.frame_id)


def lens_of(info: Any, size: tuple[int, int] | None = None) -> Intrinsics | None:
    """Return the intrinsics of the rectified picture that comes with a CameraInfo; None if not calibrated.

    P counts where there is one, else K. Both are of the whole sensor: region of interest and binning apply.
    Binning averages pixels, so centres move by a part of a pixel: `cx` of ROS becomes
    (cx + 0.5) / binning - 0.5. (image_geometry divides `cx` alone, and is 0.25 px further at a binning of 2.)

    Args:
        info: A CameraInfo.
        size: Of the picture, height first; one that was scaled has a scaled lens. Not compared where None.

    Raises:
        UnfitMessage: The picture has another shape than the CameraInfo's.
    """
    matrix = np.asarray(info.p, np.float64).reshape(3, 4)
    if not matrix[0, 0]:
        matrix = np.asarray(info.k, np.float64).reshape(3, 3)
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        return None
    across, down = _shrunk(info, size)
    return Intrinsics(
        fx_px=float(matrix[0, 0]) / across,
        fy_px=float(matrix[1, 1]) / down,
        cx_px=(float(matrix[0, 2]) + 0.5 - info.roi.x_offset) / across,
        cy_px=(float(matrix[1, 2]) + 0.5 - info.roi.y_offset) / down,
    )


def _shrunk(info: Any, size: tuple[int, int] | None) -> tuple[float, float]:
    """Return how many pixels of the sensor one of the picture's stands for, across and down."""
    across, down = float(max(1, info.binning_x)), float(max(1, info.binning_y))
    width, height = (info.roi.width or info.width) / across, (info.roi.height or info.height) / down
    if size is None or not (width >= 1 and height >= 1):
        return across, down
    if size == (int(height), int(width)):
        return across, down
    by_width, by_height = width / size[1], height / size[0]
    if abs(width / by_height - size[1]) > 1 and abs(height / by_width - size[0]) > 1:
        raise UnfitMessage(
            f"the picture is {size[1]}x{size[0]} and its CameraInfo is of {width:g}x{height:g} pixels, "
            "which is another shape; expected the CameraInfo of this picture"
        )
    return across * by_width, down * by_height


def info_of(header: Header, info: Any, result: DepthResult) -> CameraInfo:
    """Return the CameraInfo of a depth image: of its own size, rectified, without binning.

    Raises:
        UnfitMessage: The result has no intrinsics: the camera is not calibrated.
    """
    known = result.intrinsics
    if known is None:
        raise UnfitMessage("the camera is not calibrated: its CameraInfo has neither P nor K")
    height, width = result.depth.shape
    k = np.array([known.fx_px, 0, known.cx_px - 0.5, 0, known.fy_px, known.cy_px - 0.5, 0, 0, 1])
    p = np.zeros((3, 4))
    p[:, :3] = k.reshape(3, 3)
    p[0, 3] = _baseline(info) * known.fx_px
    return CameraInfo(header=header, height=height, width=width, k=k, p=p.reshape(12))


def _baseline(info: Any) -> float:
    """Return P's fourth column over its focal length: metres to the first camera of a stereo pair."""
    p: Floats = np.asarray(info.p, np.float64)
    return float(p[3] / p[0]) if p[0] else 0.0


def depth_image(
    header: Header, result: DepthResult, encoding: Encoding = "32FC1", *, farthest_m: float | None = None
) -> Image:
    """Return depth as ROS has it: along the optical axis, in metres or millimetres.

    Args:
        header: The picture's own.
        result: Metric.
        encoding: 32FC1 has NaN where there is no depth, 16UC1 has 0.
        farthest_m: What lies beyond is out of range: +Inf (REP 117), or 0.

    Raises:
        UnfitMessage: The depth is relative: nobody may take it for metres.
    """
    if result.unit != "metre":
        raise UnfitMessage("the depth is relative; expected a metric model, or a camera height")
    depth = result.depth
    beyond = depth > (np.inf if farthest_m is None else farthest_m)
    if encoding == "32FC1":
        body = np.where(beyond, np.float32(np.inf), depth).astype("<f4")
    else:
        millimetres = np.rint(depth * 1000.0)
        unknown = beyond | result.invalid | ~(millimetres <= _FARTHEST_MM)
        body = np.where(unknown, 0, np.maximum(millimetres, 1)).astype("<u2")
    height, width = depth.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=width * body.itemsize,
        data=body.tobytes(),
    )


def compressed_depth(image: Image) -> CompressedImage:
    """Return a 16UC1 depth image as compressed_depth_image_transport sends it.

    Raises:
        UnfitMessage: It has another encoding.
    """
    if image.encoding != "16UC1":
        raise UnfitMessage(f"the encoding is {image.encoding!r}; expected 16UC1")
    millimetres = np.frombuffer(image.data, "<u2").reshape(image.height, image.width)
    data = _CONFIG_HEADER + encode_png(millimetres)
    return CompressedImage(header=image.header, format=_COMPRESSED_DEPTH, data=data)
