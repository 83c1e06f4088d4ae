"""KITTI raw drives as samples: both colour cameras, metric poses from GPS/IMU, LiDAR or improved depth.

It reads what the drives offer, and takes depth only to watch and to judge.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from training.data.frames import (
    DepthFile,
    DepthPng,
    Frame,
    FrameDataset,
    FrameError,
    Moment,
    MomentView,
    check_offsets,
    role_of,
)
from training.data.kitti_calibration import (
    CALIBRATION_FILES,
    Matrix4,
    RawCalibration,
    at_size_of,
    intrinsics,
    read_raw_calibration,
)
from training.data.kitti_drive import Drive
from training.data.kitti_split import SplitEntry, read_split
from training.data.layout import Findings, images_in, numbered
from training.data.velodyne import DepthAxis, PixelRule, ScanDepth

LAYOUT = """
<root>/<date>/calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt (the last for poses)
<root>/<date>/<date>_drive_<number>_sync/image_02/data/<10 digits>.png or .jpg   left colour camera
<root>/<date>/<date>_drive_<number>_sync/image_03/data/...                       right one, for stereo
<root>/<date>/<date>_drive_<number>_sync/oxts/data/<10 digits>.txt               GPS/IMU, for poses
<root>/<date>/<date>_drive_<number>_sync/velodyne_points/data/<10 digits>.bin    LiDAR, for depth="scan"
<depth_root>[/train|/val|/<date>]/<drive>/proj_depth/<depth_kind>/image_02/<10 digits>.png   for depth="png"
"""

_PARTNER = {2: 3, 3: 2}


@dataclass(frozen=True, kw_only=True)
class KittiRawConfig:
    """What to read of KITTI raw."""

    root: Path
    """The folder of the dates."""
    split: Path | None = None
    """A list of frames in one of the forms of `kitti_split`; None: whole drives."""
    drives: tuple[str, ...] = ()
    """Drives by their names, where there is no split; none: all that are there."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    stereo: bool = True
    """Whether the other colour camera is a source where it is there."""
    poses: bool = True
    """Whether GPS/IMU poses are used where they are there."""
    min_motion_m: float = 0.05
    """In whole drives, sources nearer to the target than this are left out where the poses tell."""
    depth: Literal["none", "scan", "png"] = "none"
    """From where depth comes: LiDAR scans, or PNGs (of the scans, or the improved ground truth)."""
    depth_root: Path | None = None
    """The folder of the depth PNGs."""
    depth_kind: str = "groundtruth"
    """``groundtruth``: the improved one; ``velodyne_raw``: one scan."""
    scan_pixels: PixelRule = "nearest"
    scan_axis: DepthAxis = "camera"
    only_with_depth: bool = False
    """Whether frames without a depth file are left out."""
    resized: bool = False
    """Whether frames were resized since they were calibrated: calibrations are then scaled to their size."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        if (self.depth == "png") != (self.depth_root is not None):
            raise ValueError(
                f"depth is {self.depth!r} and depth_root {self.depth_root}; expected 'png' with a folder"
            )
        if self.split is not None and self.drives:
            raise ValueError("both a split and drives are given; expected one of them")


class KittiRaw(FrameDataset):
    """KITTI raw.

    Frames of whole drives that would have no source at all are left out, unless no sources are asked for.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: KittiRawConfig) -> None:
        name = f"KITTI raw at {config.root}" + (f" ({config.split.name})" if config.split else "")
        findings = Findings(name, LAYOUT)
        moments = list(_Reader(config, findings).moments())
        if not moments:
            findings.add(config.root, "has no usable frame")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, moments)


class _Reader:
    """Walks over the frames asked for; notes what is missing."""

    def __init__(self, config: KittiRawConfig, findings: Findings) -> None:
        self.config = config
        self.findings = findings
        self.drive = cache(self._drive)
        self.calibration = cache(self._calibration)
        self.depth_files = cache(self._depth_files)
        self.poses = cache(self._poses)

    def moments(self) -> Iterator[Moment]:
        if not self.findings.has_folder(self.config.root, "root of KITTI raw"):
            return
        wants_sources = bool(self.config.offsets) or self.config.stereo
        for entry in self._entries():
            moment = self._moment(entry)
            if moment is None or (self.config.only_with_depth and moment.depth is None):
                continue
            if moment.views or not wants_sources:
                yield moment

    def _entries(self) -> Iterator[SplitEntry]:
        if self.config.split is not None:
            yield from read_split(self.config.split, self.findings)
            return
        for folder in self._drive_folders():
            drive = self.drive(folder.parent.name, folder.name)
            for frame in drive.frames(2) if drive is not None else ():
                yield SplitEntry(date=folder.parent.name, drive=folder.name, frame=frame, camera=2)

    def _drive_folders(self) -> list[Path]:
        if not self.config.drives:
            found = sorted(self.config.root.glob("*/*/image_02/data"))
            return [path.parents[1] for path in found]
        folders = [self.config.root / drive[:10] / drive for drive in self.config.drives]
        return [path for path in folders if self.findings.has_folder(path / "image_02" / "data", "a drive")]

    def _drive(self, date: str, name: str) -> Drive | None:
        folder = self.config.root / date / name
        return Drive(folder) if self.findings.has_folder(folder, "a drive") else None

    def _calibration(self, date: str) -> RawCalibration | None:
        folder = self.config.root / date
        there = [self.findings.has_file(folder / file, "calibration") for file in CALIBRATION_FILES[:2]]
        if not all(there):
            return None
        try:
            return self._at_size(read_raw_calibration(folder), folder)
        except FrameError as error:
            self.findings.add(error.path, error.trouble)
            return None

    def _at_size(self, calibration: RawCalibration, date: Path) -> RawCalibration:
        """Scale a day's calibration to its frames, where these were resized."""
        if not self.config.resized:
            return calibration
        projections, sizes = dict(calibration.projections), dict(calibration.sizes)
        for camera, projection in calibration.projections.items():
            folders = sorted(date.glob(f"*/image_{camera:02}/data"))
            image = next((path for folder in folders for path in images_in(folder).values()), None)
            if image is not None:
                projections[camera], size = at_size_of(projection, sizes.get(camera), image)
                sizes |= {} if size is None else {camera: size}
        return replace(calibration, projections=projections, sizes=sizes)

    def _moment(self, entry: SplitEntry) -> Moment | None:
        drive = self.drive(entry.date, entry.drive)
        calibration = self.calibration(entry.date)
        if drive is None or calibration is None:
            return None
        if entry.camera not in calibration.projections:
            where = self.config.root / entry.date / CALIBRATION_FILES[0]
            self.findings.add(where, f"has no P_rect_{entry.camera:02}")
            return None
        if entry.frame not in drive.frames(entry.camera):
            where = drive.folder / f"image_{entry.camera:02}" / "data" / f"{entry.frame:010}.png"
            self.findings.add(where, "missing frame, as .png and as .jpg")
            return None
        return Moment(
            frame=_frame(drive, entry.camera, entry.frame),
            intrinsics=intrinsics(calibration.projections[entry.camera]),
            views=(*self._views_in_time(drive, calibration, entry), *self._stereo(drive, calibration, entry)),
            depth=self._depth(drive, calibration, entry),
            calibrated=calibration.sizes.get(entry.camera),
        )

    def _views_in_time(
        self, drive: Drive, calibration: RawCalibration, entry: SplitEntry
    ) -> Iterator[MomentView]:
        world_T_target = self._world_T_camera(drive, calibration, entry.camera, entry.frame)
        for offset in self.config.offsets:
            number = entry.frame + offset
            if number not in drive.frames(entry.camera):
                continue
            world_T_source = self._world_T_camera(drive, calibration, entry.camera, number)
            source_T_target = None
            if world_T_source is not None and world_T_target is not None:
                source_T_target = _float32(np.linalg.inv(world_T_source) @ world_T_target)
                moved_m = float(np.linalg.norm(source_T_target[:3, 3]))
                if self.config.split is None and moved_m < self.config.min_motion_m:
                    continue
            yield MomentView(
                frame=_frame(drive, entry.camera, number),
                source_T_target=source_T_target,
                role=role_of(offset),
            )

    def _stereo(self, drive: Drive, calibration: RawCalibration, entry: SplitEntry) -> Iterator[MomentView]:
        partner = _PARTNER.get(entry.camera, -1)
        calibrated = partner in calibration.projections
        if self.config.stereo and calibrated and entry.frame in drive.frames(partner):
            yield MomentView(
                frame=_frame(drive, partner, entry.frame),
                source_T_target=_float32(calibration.camera_T_camera(partner, entry.camera)),
                role="stereo",
            )

    def _world_T_camera(
        self, drive: Drive, calibration: RawCalibration, camera: int, number: int
    ) -> Matrix4 | None:
        camera_T_imu = calibration.camera_T_imu(camera) if self.config.poses else None
        if camera_T_imu is None or number not in self.poses(drive):
            return None
        world_T_camera: Matrix4 = self.poses(drive)[number] @ np.linalg.inv(camera_T_imu)
        return world_T_camera

    def _poses(self, drive: Drive) -> dict[int, Matrix4]:
        try:
            return drive.world_T_imu
        except FrameError as error:
            self.findings.add(error.path, error.trouble)
            return {}

    def _depth(self, drive: Drive, calibration: RawCalibration, entry: SplitEntry) -> DepthFile | None:
        path = self.depth_files(drive, entry.camera).get(entry.frame)
        if path is None:
            return None
        if self.config.depth == "png":
            return DepthPng(path=path)
        return ScanDepth(
            path=path,
            pixel_T_velodyne=calibration.projections[entry.camera] @ calibration.reference_T_velodyne,
            pixels=self.config.scan_pixels,
            axis=self.config.scan_axis,
        )

    def _depth_files(self, drive: Drive, camera: int) -> dict[int, Path]:
        if self.config.depth == "scan":
            return drive.scans()
        if self.config.depth_root is None or not self.findings.has_folder(
            self.config.depth_root, "depth PNGs"
        ):
            return {}
        inner = Path(drive.name) / "proj_depth" / self.config.depth_kind / f"image_{camera:02}"
        for part in ("", "train", "val", drive.folder.parent.name):
            if found := images_in(self.config.depth_root / part / inner):
                return numbered(found.values())
        return {}


def _frame(drive: Drive, camera: int, number: int) -> Frame:
    path = drive.frames(camera)[number]
    return Frame(key=f"{drive.name}/image_{camera:02}/{number:010}", path=path)


def _float32(transform: Matrix4) -> Float32[np.ndarray, "4 4"]:
    return transform.astype(np.float32)
