"""Small data sets in the published layouts, with contents that can be computed in the head."""

from pathlib import Path

import cv2
import numpy as np

from training.data.sequence import Sample, View

HEIGHT, WIDTH = 12, 32
FOCAL = 20.0
BASELINE_M = 0.5


def pattern(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """An image of noise that is different for every number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _line(name: str, matrix: np.ndarray) -> str:
    return f"{name}: " + " ".join(f"{value:.9e}" for value in np.asarray(matrix).ravel())


def projection(baseline_m: float = 0.0) -> np.ndarray:
    """Focal length 20, centre (15.5, 5.5) counted from 0; that is the middle of the 32 x 12 image."""
    matrix = np.array([[FOCAL, 0, 15.5, 0], [0, FOCAL, 5.5, 0], [0, 0, 1, 0]])
    matrix[0, 3] = -FOCAL * baseline_m
    return matrix


VELODYNE_TO_CAMERA = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
"""The scanner looks along x with z up, the camera along z with y down; same place."""


def kitti_raw(root: Path, *, drive: str = "2011_09_26_drive_0001_sync", frames: int = 4) -> Path:
    """A drive straight ahead to the north, 1 m a frame, both colour cameras, a scan for each frame."""
    date = root / drive[:10]
    cameras = [("P_rect_02", projection()), ("P_rect_03", projection(BASELINE_M))]
    sizes = [f"S_rect_0{camera}: {WIDTH:e} {HEIGHT:e}" for camera in (2, 3)]
    lines = [_line("R_rect_00", np.eye(3)), *sizes, *(_line(name, matrix) for name, matrix in cameras)]
    write_text(date / "calib_cam_to_cam.txt", "calib_time: 09-Jan-2012 13:57:47\n" + "\n".join(lines))
    scanner = [_line("R", VELODYNE_TO_CAMERA), _line("T", np.zeros(3))]
    write_text(date / "calib_velo_to_cam.txt", "\n".join(scanner))
    write_text(date / "calib_imu_to_velo.txt", f"{_line('R', np.eye(3))}\n{_line('T', np.zeros(3))}")
    for frame in range(frames):
        for camera in (2, 3):
            image = pattern(10 * frame + camera)
            write_image(date / drive / f"image_{camera:02}" / "data" / f"{frame:010}.png", image)
        write_text(date / drive / "oxts" / "data" / f"{frame:010}.txt", oxts_line(north_m=frame))
        scan = np.array([[8, 0, 0, 0.5]], np.float32)
        path = date / drive / "velodyne_points" / "data" / f"{frame:010}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(scan.tobytes())
    return date / drive


def halve_images(root: Path) -> None:
    """Resize every image below a folder to half its size, and leave everything else as it is."""
    for path in root.rglob("*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2)))


def oxts_line(*, north_m: float, yaw: float = np.pi / 2) -> str:
    """A record near the equator, where a metre is the same north and east; heading north by default."""
    latitude = np.degrees(north_m / 6378137.0)
    return f"{latitude:.15f} 8.4 100.0 0.0 0.0 {yaw:.15f} " + " ".join(["0"] * 24) + "\n"


def kitti_odometry(root: Path, *, sequence: str = "04", frames: int = 3, grey: bool = False) -> Path:
    """A sequence straight ahead, 2 m a frame; colour with stereo and depth, or one grey camera."""
    folder = root / "sequences" / sequence
    names = ("P0", "P1") if grey else ("P0", "P1", "P2", "P3")
    baselines_m = dict(zip(names, (0.0, BASELINE_M, 0.0, BASELINE_M), strict=False))
    lines = [_line(name, projection(baseline_m)) for name, baseline_m in baselines_m.items()]
    write_text(folder / "calib.txt", "\n".join(lines))
    rows = []
    for frame in range(frames):
        if grey:
            write_image(folder / "image_0" / f"{frame:06}.jpg", pattern(frame)[..., 0])
        else:
            for camera in (2, 3):
                write_image(folder / f"image_{camera}" / f"{frame:06}.png", pattern(10 * frame + camera))
            write_image(folder / "velodyne_depth" / f"{frame:06}.png", depth_steps(row=3, column=4, metres=7))
        pose = np.eye(4)[:3]
        pose[2, 3] = 2.0 * frame
        rows.append(" ".join(f"{value:.9e}" for value in pose.ravel()))
    write_text(root / "poses" / f"{sequence}.txt", "\n".join(rows))
    return folder


def depth_steps(*, row: int, column: int, metres: float) -> np.ndarray:
    """KITTI's depth PNG with a single measurement."""
    steps = np.zeros((HEIGHT, WIDTH), np.uint16)
    steps[row, column] = metres * 256
    return steps


def ahead(metres: float) -> np.ndarray:
    """The move of points when the camera went straight ahead."""
    matrix = np.eye(4)
    matrix[2, 3] = -metres
    return matrix


class Memory:
    """A data set without files: samples 0, 1, 2... with one view in time and one stereo view."""

    def __init__(self, size: int, *, height: int = 8, width: int = 16, name: str = "memory") -> None:
        self.size, self.height, self.width, self.name = size, height, width, name
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        rng = np.random.default_rng(index)
        images = rng.integers(0, 256, (3, self.height, self.width, 3), dtype=np.uint8)
        return Sample(
            key=self.keys[index],
            image=images[0],
            intrinsics=np.array([[10, 0, self.width / 2], [0, 10, self.height / 2], [0, 0, 1]], np.float32),
            sources=(
                View(image=images[1], source_T_target=None, role="next"),
                View(image=images[2], source_T_target=np.eye(4, dtype=np.float32), role="stereo"),
            ),
            depth_m=np.full((self.height, self.width), index + 1, np.float32),
            depth_is_label=True,
        )

    @property
    def keys(self) -> list[str]:
        return [f"{self.name}/{index:04}" for index in range(self.size)]

    def describe(self) -> str:
        return f"{self.size} samples in memory"
