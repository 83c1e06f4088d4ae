"""KITTI's calibration files: projections, rectification, and the chain from GPS/IMU over LiDAR to cameras.

Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013. It knows the files' format, not where
they lie. Matrices are float64 as in the files; pixels count from 0 at a pixel's centre there, and
`intrinsics` adds the half pixel of our own convention.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from training.data.frames import NOT_RESIZED, FrameError
from training.data.layout import read_header, read_text

Matrix4 = Float64[np.ndarray, "4 4"]
"""A rigid move; ``a_T_b`` takes points from frame b to frame a."""
CALIBRATION_FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")


def read_calibration(path: Path) -> dict[str, Float64[np.ndarray, " values"]]:
    """Read the lines ``name: number number ...``; lines with other content, such as dates, are left out."""
    values: dict[str, Float64[np.ndarray, " values"]] = {}
    for line in read_text(path).splitlines():
        name, separator, numbers = line.partition(":")
        try:
            row = [float(number) for number in numbers.split()]
        except ValueError:
            continue
        if separator and row:
            values[name.strip()] = np.array(row)
    return values


def field(
    values: dict[str, Float64[np.ndarray, " values"]], name: str, shape: tuple[int, ...], path: Path
) -> Float64[np.ndarray, "..."]:
    """Return a named matrix.

    Raises:
        FrameError: The file has no such line, or it has another length.
    """
    found = values.get(name)
    if found is None or found.size != int(np.prod(shape)):
        raise FrameError(path, f"expected a line {name!r} with {int(np.prod(shape))} numbers")
    return found.reshape(shape)


def rigid(
    rotation: Float64[np.ndarray, "3 3"] | None = None, translation: Float64[np.ndarray, " 3"] | None = None
) -> Matrix4:
    """Return the 4x4 transform of a rotation and a translation, the identity where one is missing."""
    matrix = np.eye(4)
    if rotation is not None:
        matrix[:3, :3] = rotation
    if translation is not None:
        matrix[:3, 3] = translation
    return matrix


def intrinsics(projection: Float64[np.ndarray, "3 4"]) -> Float32[np.ndarray, "3 3"]:
    """Return a projection's intrinsics with pixel centres at +0.5."""
    matrix = projection[:, :3].astype(np.float32)
    matrix[:2, 2] += np.float32(0.5)
    return matrix


def scaled(
    projection: Float64[np.ndarray, "3 4"], calibrated: tuple[int, int], size: tuple[int, int]
) -> Float64[np.ndarray, "3 4"]:
    """Return the projection to images that were resized from one height and width to another.

    Pixel centres count from 0 here, so that the edge of the image, which stays where it is, lies at -0.5.
    """
    y, x = size[0] / calibrated[0], size[1] / calibrated[1]
    resize = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    resized: Float64[np.ndarray, "3 4"] = resize @ projection
    return resized


def at_size_of(
    projection: Float64[np.ndarray, "3 4"], calibrated: tuple[int, int] | None, image: Path
) -> tuple[Float64[np.ndarray, "3 4"], tuple[int, int] | None]:
    """Return the projection to an image file that was resized since it was calibrated, and its size.

    Raises:
        FrameError: Nothing says which size was calibrated, the image has it, or cannot be read.
    """
    header = read_header(image)
    if header.trouble is not None:
        raise FrameError(image, header.trouble)
    if calibrated is None:
        raise FrameError(image, "cannot be compared: no size stands in its calibration; expected resized=no")
    size = (header.height, header.width)
    if size == calibrated:
        raise FrameError(image, NOT_RESIZED)
    return scaled(projection, calibrated, size), size


def camera_T_reference(projection: Float64[np.ndarray, "3 4"]) -> Matrix4:
    """Return the move from rectified camera 0 to the projection's camera: K^-1 times its last column."""
    return rigid(translation=np.linalg.solve(projection[:, :3], projection[:, 3]))


@dataclass(frozen=True, kw_only=True)
class RawCalibration:
    """What the three files of a recording day say."""

    projections: dict[int, Float64[np.ndarray, "3 4"]]
    """Camera number to ``P_rect``."""
    sizes: dict[int, tuple[int, int]]
    """Camera number to the height and width of the rectified images, as ``S_rect`` says, where it does."""
    reference_T_velodyne: Matrix4
    """From the scanner to the rectified frame of camera 0."""
    velodyne_T_imu: Matrix4 | None
    """From the GPS/IMU unit to the scanner; None where the day has no such file."""

    def camera_T_velodyne(self, camera: int) -> Matrix4:
        """Return the move from the scanner to a rectified camera."""
        moved: Matrix4 = camera_T_reference(self.projections[camera]) @ self.reference_T_velodyne
        return moved

    def camera_T_imu(self, camera: int) -> Matrix4 | None:
        """Return the move from the GPS/IMU unit to a rectified camera, if it is known."""
        if self.velodyne_T_imu is None:
            return None
        moved: Matrix4 = self.camera_T_velodyne(camera) @ self.velodyne_T_imu
        return moved

    def camera_T_camera(self, to: int, start: int) -> Matrix4:
        """Return the move between two rectified cameras, in metres: the stereo baseline."""
        reference_T_start = np.linalg.inv(camera_T_reference(self.projections[start]))
        moved: Matrix4 = camera_T_reference(self.projections[to]) @ reference_T_start
        return moved


def read_raw_calibration(folder: Path) -> RawCalibration:
    """Read a day's calibration.

    Raises:
        FrameError: A file lacks a line that is needed.
    """
    cameras_path, scanner_path, imu_path = (folder / name for name in CALIBRATION_FILES)
    cameras, scanner = read_calibration(cameras_path), read_calibration(scanner_path)
    rectification = field(cameras, "R_rect_00", (3, 3), cameras_path)
    reference_T_velodyne = rigid(rotation=rectification) @ rigid(
        field(scanner, "R", (3, 3), scanner_path), field(scanner, "T", (3,), scanner_path)
    )
    velodyne_T_imu = None
    if imu_path.is_file():
        imu = read_calibration(imu_path)
        velodyne_T_imu = rigid(field(imu, "R", (3, 3), imu_path), field(imu, "T", (3,), imu_path))
    projections = {
        camera: field(cameras, f"P_rect_{camera:02}", (3, 4), cameras_path)
        for camera in range(4)
        if f"P_rect_{camera:02}" in cameras
    }
    if 2 not in projections:
        field(cameras, "P_rect_02", (3, 4), cameras_path)
    rectified = {camera: cameras.get(f"S_rect_{camera:02}") for camera in projections}
    return RawCalibration(
        projections=projections,
        sizes={
            camera: (int(size[1]), int(size[0]))
            for camera, size in rectified.items()
            if size is not None and size.size == 2
        },
        reference_T_velodyne=reference_T_velodyne,
        velodyne_T_imu=velodyne_T_imu,
    )
