"""KITTI odometry sequences as samples: colour or grey cameras, stereo, poses, and depth where it was added.

Poses are those of camera 0, world_T_camera0 a line.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from training.data.frames import (
    DepthPng,
    Frame,
    FrameDataset,
    FrameError,
    Moment,
    MomentView,
    check_offsets,
)
from training.data.kitti_calibration import (
    Matrix4,
    at_size_of,
    camera_T_reference,
    field,
    intrinsics,
    read_calibration,
)
from training.data.layout import Findings, images_in, numbered, read_text
from training.data.posed import Shot, views_in_time

LAYOUT = """
<root>/sequences/<two digits>/calib.txt                        lines P0 to P3
<root>/sequences/<two digits>/image_2/<6 digits>.png or .jpg   left colour camera (image_0: left grey)
<root>/sequences/<two digits>/image_3/...                      right one (image_1: right grey), for stereo
<root>/sequences/<two digits>/velodyne_depth/<6 digits>.png    optional depth of image_2, uint16, m x 256
<root>/poses/<two digits>.txt                                  12 numbers a line, world_T_camera0
"""

_RIGHT_OF = {0: 1, 2: 3}
_SIZES = {718.856: (376, 1241), 721.5377: (375, 1242), 707.0912: (370, 1226)}
"""Height and width of the published images by the focal length of their calibration, which names no size."""
_SAME_FOCAL_PX = 0.01


@dataclass(frozen=True, kw_only=True)
class KittiOdometryConfig:
    """What to read of KITTI odometry."""

    root: Path
    """The folder of ``sequences`` and ``poses``."""
    sequences: tuple[str, ...] = ()
    """As in ``04``; none: all that are there."""
    camera: Literal["auto", "colour", "grey"] = "auto"
    """``auto``: colour where it is there, else grey."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    stereo: bool = True
    """Whether the right camera is a source where it is there."""
    poses: bool = True
    """Whether the given poses are used where they are there."""
    min_motion_m: float = 0.05
    """Sources nearer to the target than this are left out where the poses tell."""
    depth: bool = False
    """Whether ``velodyne_depth`` is read."""
    only_with_depth: bool = False
    """Whether frames without a depth file are left out."""
    resized: bool = False
    """Whether frames were resized since they were calibrated: calibrations are then scaled to their size."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)


class KittiOdometry(FrameDataset):
    """KITTI odometry.

    Frames that would have no source at all are left out, unless no sources are asked for.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: KittiOdometryConfig) -> None:
        name = f"KITTI odometry at {config.root}"
        if config.sequences:
            name += f" ({', '.join(config.sequences)})"
        findings = Findings(name, LAYOUT)
        moments = [
            moment
            for folder in _sequence_folders(config, findings)
            for moment in _SequenceReader(config, folder, findings).moments()
        ]
        if not moments:
            findings.add(config.root, "has no usable frame")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, moments)


def _sequence_folders(config: KittiOdometryConfig, findings: Findings) -> list[Path]:
    home = config.root / "sequences"
    if not findings.has_folder(home, "sequences of KITTI odometry"):
        return []
    if not config.sequences:
        return sorted(path for path in home.iterdir() if path.is_dir())
    folders = [home / sequence for sequence in config.sequences]
    return [folder for folder in folders if findings.has_folder(folder, "a sequence")]


class _SequenceReader:
    """Walks over the frames of one sequence; notes what is missing."""

    def __init__(self, config: KittiOdometryConfig, folder: Path, findings: Findings) -> None:
        self.config = config
        self.folder = folder
        self.findings = findings

    def moments(self) -> Iterator[Moment]:
        left = self._camera()
        projections = self._projections() if left is not None else {}
        if left is None or not projections:
            return
        if left not in projections:
            self.findings.add(self.folder / "calib.txt", f"has no line P{left}")
            return
        right = _RIGHT_OF[left]
        frames = self._frames(left)
        projections, size = self._at_size(projections, next(iter(frames.values())))
        partners = self._frames(right) if self.config.stereo and right in projections else {}
        world_T_camera = self._poses(projections[left])
        depth = images_in(self.folder / "velodyne_depth") if self.config.depth and left == 2 else {}
        right_T_left = camera_T_reference(projections.get(right, projections[left])) @ np.linalg.inv(
            camera_T_reference(projections[left])
        )
        shots = {
            number: Shot(
                frame=self._frame(left, path),
                intrinsics=intrinsics(projections[left]),
                world_T_camera=world_T_camera.get(number),
            )
            for number, path in frames.items()
        }
        for number, path in frames.items():
            views = list(views_in_time(shots, number, self.config.offsets, self.config.min_motion_m))
            if number in partners:
                partner = self._frame(right, partners[number])
                pose = right_T_left.astype(np.float32)
                views.append(MomentView(frame=partner, source_T_target=pose, role="stereo"))
            depth_path = depth.get(path.stem)
            wants_sources = bool(self.config.offsets) or self.config.stereo
            if (wants_sources and not views) or (self.config.only_with_depth and depth_path is None):
                continue
            yield Moment(
                frame=shots[number].frame,
                intrinsics=shots[number].intrinsics,
                views=tuple(views),
                depth=DepthPng(path=depth_path) if depth_path is not None else None,
                calibrated=size,
            )

    def _at_size(
        self, projections: dict[int, Float64[np.ndarray, "3 4"]], image: Path
    ) -> tuple[dict[int, Float64[np.ndarray, "3 4"]], tuple[int, int] | None]:
        """Return the projections to frames as they are, and which size these should have."""
        focal = float(next(iter(projections.values()))[0, 0])
        size = next((size for known, size in _SIZES.items() if abs(focal - known) < _SAME_FOCAL_PX), None)
        if not self.config.resized:
            return projections, size
        try:
            at_size = {camera: at_size_of(one, size, image) for camera, one in projections.items()}
        except FrameError as error:
            self.findings.add(error.path, error.trouble)
            return projections, size
        return {camera: one for camera, (one, _) in at_size.items()}, next(iter(at_size.values()))[1]

    def _camera(self) -> int | None:
        """The left camera to read, by what was asked for and what is there."""
        candidates = {"auto": (2, 0), "colour": (2,), "grey": (0,)}[self.config.camera]
        for camera in candidates:
            if self._frames(camera):
                return camera
        self.findings.add(self.folder / f"image_{candidates[0]}", "missing folder, or no frame in it")
        return None

    def _frames(self, camera: int) -> dict[int, Path]:
        return numbered(images_in(self.folder / f"image_{camera}").values())

    def _frame(self, camera: int, path: Path) -> Frame:
        return Frame(key=f"odometry/{self.folder.name}/image_{camera}/{path.stem}", path=path)

    def _projections(self) -> dict[int, Float64[np.ndarray, "3 4"]]:
        path = self.folder / "calib.txt"
        if not self.findings.has_file(path, "calibration"):
            return {}
        values = read_calibration(path)
        try:
            found = {
                camera: field(values, f"P{camera}", (3, 4), path)
                for camera in range(4)
                if f"P{camera}" in values
            }
        except FrameError as error:
            self.findings.add(error.path, error.trouble)
            return {}
        if not found:
            self.findings.add(path, "has none of the lines P0 to P3")
        return found

    def _poses(self, projection: Float64[np.ndarray, "3 4"]) -> dict[int, Matrix4]:
        """world_T_camera by frame number; empty where the sequence has no poses, as 11 to 21 have none."""
        path = self.folder.parents[1] / "poses" / f"{self.folder.name}.txt"
        if not self.config.poses or not path.is_file():
            return {}
        try:
            rows = np.loadtxt(io.StringIO(read_text(path)), dtype=np.float64, ndmin=2)
        except ValueError as error:
            self.findings.add(path, f"expected 12 numbers on each line ({error})")
            return {}
        if rows.shape[1] != 12:
            self.findings.add(path, f"expected 12 numbers on each line, not {rows.shape[1]}")
            return {}
        world_T_reference = np.tile(np.eye(4), (len(rows), 1, 1))
        world_T_reference[:, :3] = rows.reshape(-1, 3, 4)
        reference_T_camera = np.linalg.inv(camera_T_reference(projection))
        return {number: pose @ reference_T_camera for number, pose in enumerate(world_T_reference)}
