"""nuScenes as samples: six cameras' videos with poses, and LiDAR depth (Caesar et al., CVPR 2020)."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from training.data.frames import Frame, FrameDataset, FrameError, check_offsets
from training.data.layout import Findings
from training.data.posed import Matrix4, Shot, camera_matrix, moments, rigid
from training.data.stored_depth import PointDepth

LAYOUT = """
<root>/<version>/sample_data.json, sample.json, scene.json, ego_pose.json, calibrated_sensor.json, sensor.json
<root>/samples/CAM_FRONT/*.jpg, <root>/sweeps/CAM_FRONT/*.jpg    keyframes at 2 Hz, and those between at 12 Hz
<root>/samples/LIDAR_TOP/*.pcd.bin                               five float32 a point
"""
_TABLES = ("sample_data", "sample", "scene", "ego_pose", "calibrated_sensor", "sensor")
_LIDAR = "LIDAR_TOP"
_FLOATS = 5
_NEAREST_M = 1.0
"""As the development kit has it: what is nearer is the car itself."""

Camera = Literal[
    "CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"
]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NuScenesConfig:
    """What to read of nuScenes."""

    root: Path
    """The folder of ``samples`` and of the versions."""
    version: str = "v1.0-trainval"
    cameras: tuple[Camera, ...] = ("CAM_FRONT",)
    scenes: tuple[str, ...] = ()
    """As in ``scene-0001``; none: all of the version."""
    sweeps: bool = True
    """Whether frames between keyframes are read: 12 a second in place of 2. They have no LiDAR depth here."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    poses: bool = True
    """Whether the car's poses are used."""
    min_motion_m: float = 0.05
    """Sources nearer to the target than this are left out where the poses tell."""
    depth: bool = False
    """Whether LiDAR is projected into keyframes, to watch and to judge."""
    only_with_depth: bool = False
    """Whether frames without depth are left out."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)


class NuScenes(FrameDataset):
    """nuScenes.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: NuScenesConfig) -> None:
        name = f"nuScenes {config.version} at {config.root}"
        findings = Findings(name, LAYOUT)
        folder = config.root / config.version
        there = [findings.has_file(folder / f"{table}.json", "table of nuScenes") for table in _TABLES]
        found = [] if not all(there) else list(_Reader(config, findings).moments())
        if not found and not findings:
            findings.add(folder, "has no usable frame")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, found)


class _Reader:
    """Follows the tables from scenes to frames."""

    def __init__(self, config: NuScenesConfig, findings: Findings) -> None:
        self.config = config
        self.findings = findings
        tables = {name: _table(config.root / config.version / f"{name}.json", findings) for name in _TABLES}
        self.poses = {row["token"]: row for row in tables["ego_pose"]}
        self.calibrations = {row["token"]: row for row in tables["calibrated_sensor"]}
        self.channels = {row["token"]: row["channel"] for row in tables["sensor"]}
        self.scene_of = {row["token"]: row["scene_token"] for row in tables["sample"]}
        self.scenes = {row["token"]: row["name"] for row in tables["scene"]}
        missing = set(config.scenes) - set(self.scenes.values())
        if missing:
            findings.add(config.root / config.version, f"has no scene {', '.join(sorted(missing))}")
        self.data = tables["sample_data"]

    def moments(self) -> Iterator[Any]:
        lidar = {
            row["sample_token"]: row
            for row in self.data
            if self._channel(row) == _LIDAR and row["is_key_frame"]
        }
        videos: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.data:
            scene = self.scenes.get(self.scene_of.get(row["sample_token"], ""), "")
            wanted = not self.config.scenes or scene in self.config.scenes
            camera = self._channel(row)
            if wanted and camera in self.config.cameras and (self.config.sweeps or row["is_key_frame"]):
                videos[scene, camera].append(row)
        for (scene, camera), rows in sorted(videos.items()):
            rows.sort(key=lambda row: row["timestamp"])
            shots = {number: self._shot(scene, camera, row, lidar) for number, row in enumerate(rows)}
            yield from moments(
                {number: shot for number, shot in shots.items() if shot is not None},
                offsets=self.config.offsets,
                min_motion_m=self.config.min_motion_m,
                only_with_depth=self.config.only_with_depth,
                size=(rows[0]["height"], rows[0]["width"]),
            )

    def _channel(self, row: Row) -> str:
        return str(self.channels[self.calibrations[row["calibrated_sensor_token"]]["sensor_token"]])

    def _shot(self, scene: str, camera: str, row: Row, lidar: dict[str, Row]) -> Shot | None:
        path = self.config.root / row["filename"]
        if not self.findings.has_file(path, "a frame of sample_data.json"):
            return None
        matrix = self.calibrations[row["calibrated_sensor_token"]]["camera_intrinsic"]
        intrinsics = camera_matrix(matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2])
        scan = lidar.get(row["sample_token"]) if row["is_key_frame"] and self.config.depth else None
        depth = None
        if scan is not None:
            depth = PointDepth(
                path=self.config.root / scan["filename"],
                load=read_points,
                camera_T_scanner=np.linalg.inv(self._world_T_sensor(row)) @ self._world_T_sensor(scan),
                intrinsics=intrinsics,
                nearest_m=_NEAREST_M,
            )
        return Shot(
            frame=Frame(key=f"nuscenes/{scene}/{camera}/{row['timestamp']}", path=path),
            intrinsics=intrinsics,
            world_T_camera=self._world_T_sensor(row) if self.config.poses else None,
            depth=depth,
        )

    def _world_T_sensor(self, row: Row) -> Matrix4:
        """The car's pose at the sensor's own time, and the sensor's place on the car."""
        pose, sensor = self.poses[row["ego_pose_token"]], self.calibrations[row["calibrated_sensor_token"]]
        world_T_car = rigid(pose["translation"], pose["rotation"])
        world_T_sensor: Matrix4 = world_T_car @ rigid(sensor["translation"], sensor["rotation"])
        return world_T_sensor


def read_points(path: Path) -> Float32[np.ndarray, "points 3"]:
    """Read a scan of five float32 a point: x, y, z in metres, intensity and ring.

    Raises:
        FrameError: It is not a whole number of points long.
    """
    if path.stat().st_size % (4 * _FLOATS):
        raise FrameError(path, f"expected a multiple of {4 * _FLOATS} bytes: five float32 a point")
    points: Float32[np.ndarray, "points 3"] = np.fromfile(path, np.float32).reshape(-1, _FLOATS)[:, :3]
    return points


def _table(path: Path, findings: Findings) -> list[Row]:
    try:
        rows: list[Row] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        findings.add(path, f"is no JSON table ({error})")
        return []
    return rows
