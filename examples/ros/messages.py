"""ROS messages as plain records: the fields of sensor_msgs, without ROS.

Whatever has fields of these names will do in their place, such as the messages of rclpy and of rosbags.
"""

import array
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Time:
    """builtin_interfaces/Time."""

    sec: int = 0
    nanosec: int = 0


@dataclass(frozen=True, kw_only=True)
class Header:
    """std_msgs/Header."""

    stamp: Time = Time()
    """When the picture was taken."""
    frame_id: str = ""
    """The camera's optical frame: x right, y down, z forward (REP 103)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """sensor_msgs/Image."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int = 0
    step: int
    """Bytes from one row to the next."""
    data: Any
    """Bytes, or anything that has them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedImage:
    """sensor_msgs/CompressedImage."""

    header: Header
    format: str
    data: Any


@dataclass(frozen=True, kw_only=True)
class RegionOfInterest:
    """sensor_msgs/RegionOfInterest."""

    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    """0 means all of it, as does a width of 0."""
    width: int = 0
    do_rectify: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraInfo:
    """sensor_msgs/CameraInfo."""

    header: Header
    height: int
    """Of the sensor at full resolution, before region of interest and binning."""
    width: int
    distortion_model: str = "plumb_bob"
    d: Floats = field(default_factory=lambda: np.zeros(5))
    k: Floats
    """Intrinsics of the picture as it was taken, row by row; the first pixel's centre is at 0."""
    r: Floats = field(default_factory=lambda: np.eye(3).reshape(9))
    p: Floats
    """Intrinsics of the rectified picture, and a fourth column for the second camera of a stereo pair."""
    binning_x: int = 0
    """0 means 1."""
    binning_y: int = 0
    roi: RegionOfInterest = RegionOfInterest()


def filled(message: Any, record: Any) -> Any:
    """Copy a record into a message of rclpy, and return that.

    Its lists of numbers begin as ``array.array``, and take only such a one quickly: of bytes or a list they
    would look at each number.
    """
    for each in fields(record):
        value, current = getattr(record, each.name), getattr(message, each.name)
        if is_dataclass(value):
            filled(current, value)
        elif isinstance(current, array.array):
            setattr(message, each.name, array.array(current.typecode, memoryview(value).tobytes()))
        else:
            setattr(message, each.name, value)
    return message
