"""Metric poses from KITTI's GPS/IMU records (OXTS RT 3003).

Positions by the Mercator projection at the scale of the first record's latitude, as in KITTI's raw
development kit (Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013): with earth radius r
and scale s = cos(lat0), x = s r lon, y = s r ln tan(pi/4 + lat/2), z = alt; orientation Rz(yaw) Ry(pitch)
Rx(roll).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from training.data.frames import FrameError
from training.data.kitti_calibration import Matrix4, rigid
from training.data.layout import read_text

EARTH_RADIUS_M = 6378137.0
_POSE_FIELDS = 6
_MAX_GAP_NS = 300_000_000
"""Records farther apart than this, three frames at 10 Hz, are not interpolated between."""
_MAX_BEYOND_NS = 20_000_000
"""How far outside the records a moment may lie, a fifth of a frame at 10 Hz."""
_MAX_UNEVEN_NS = 30_000_000
"""Records that stray farther than this from an even clock have none."""

Records = Float64[np.ndarray, "records 6"]
"""Latitude and longitude in degrees, altitude in metres, roll, pitch and yaw in radians."""
Record = Float64[np.ndarray, " 6"]
"""One of them."""
Stamps = Int64[np.ndarray, " lines"]
"""Nanoseconds."""


def read_records(paths: Sequence[Path]) -> Records:
    """Read the pose part of records, one a file.

    Raises:
        FrameError: A file does not start with six numbers.
    """
    rows = np.empty((len(paths), _POSE_FIELDS))
    for row, path in zip(rows, paths, strict=True):
        fields = read_text(path).split()[:_POSE_FIELDS]
        try:
            row[:] = [float(field) for field in fields]
        except ValueError:
            raise FrameError(path, "expected latitude, longitude, altitude, roll, pitch and yaw") from None
    return rows


def poses(records: Records) -> list[Matrix4]:
    """Return world_T_imu of each record, in metres; the world's axes are east, north and up."""
    if not len(records):
        return []
    scale = np.cos(np.radians(records[0, 0]))
    return [_pose(record, float(scale)) for record in records]


def _pose(record: Record, scale: float) -> Matrix4:
    latitude, longitude = np.radians(record[:2])
    position_m = np.array(
        [
            scale * EARTH_RADIUS_M * longitude,
            scale * EARTH_RADIUS_M * np.log(np.tan(np.pi / 4 + latitude / 2)),
            record[2],
        ]
    )
    (sin_r, sin_p, sin_y), (cos_r, cos_p, cos_y) = np.sin(record[3:]), np.cos(record[3:])
    roll = np.array([[1, 0, 0], [0, cos_r, -sin_r], [0, sin_r, cos_r]])
    pitch = np.array([[cos_p, 0, sin_p], [0, 1, 0], [-sin_p, 0, cos_p]])
    yaw = np.array([[cos_y, -sin_y, 0], [sin_y, cos_y, 0], [0, 0, 1]])
    return rigid(yaw @ pitch @ roll, position_m)


def read_timestamps(path: Path) -> Stamps:
    """Read KITTI's time stamps, ``2011-09-26 13:08:24.450527488``, as nanoseconds.

    Raises:
        FrameError: A line is not a date and time.
    """
    lines = [line.strip().replace(" ", "T") for line in read_text(path).splitlines() if line.strip()]
    try:
        stamps: Stamps = np.array(lines, dtype="datetime64[ns]").astype(np.int64)
    except ValueError as error:
        raise FrameError(path, f"expected a date and time on each line ({error})") from None
    return stamps


def interpolate(records: Records, stamps_ns: Int64[np.ndarray, " records"], at_ns: int) -> Record | None:
    """Return the record at a moment between two others, or None where none are near enough around it.

    Linear, angles the short way round: over 0.1 s an acceleration of 4 m/s^2 makes 5 mm of difference.
    """
    if len(records) < 2 or not stamps_ns[0] - _MAX_BEYOND_NS <= at_ns <= stamps_ns[-1] + _MAX_BEYOND_NS:
        return None
    after = min(max(int(np.searchsorted(stamps_ns, at_ns)), 1), len(records) - 1)
    start, end = int(stamps_ns[after - 1]), int(stamps_ns[after])
    if end - start > _MAX_GAP_NS:
        return None
    step = records[after] - records[after - 1]
    step[3:] = (step[3:] + np.pi) % (2 * np.pi) - np.pi
    between: Record = records[after - 1] + step * ((at_ns - start) / (end - start))
    return between


def even_clock(numbers: Int64[np.ndarray, " records"], stamps_ns: Stamps) -> Stamps | None:
    """Return the moments of an even clock, one tick a number, that fits the stamps best.

    A camera runs evenly; the record kept for each frame is the nearest of the unit's own 100 Hz. Returns None
    where the stamps stray too far from any even clock.
    """
    if len(numbers) < 2:
        return None
    since_start = (stamps_ns - stamps_ns[0]).astype(np.float64)
    period, start = np.polyfit(numbers.astype(np.float64), since_start, 1)
    even = start + period * numbers
    if np.abs(even - since_start).max() > _MAX_UNEVEN_NS:
        return None
    ticks: Stamps = np.round(even).astype(np.int64) + stamps_ns[0]
    return ticks
