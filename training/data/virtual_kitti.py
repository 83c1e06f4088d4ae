"""Virtual KITTI 2 as samples: drawn streets with exact depth, poses and stereo (Cabon et al., 2020)."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.frames import Frame, FrameDataset, MomentView, check_offsets
from training.data.layout import Findings, read_text
from training.data.posed import Matrix4, Shot, camera_matrix, moments
from training.data.stored_depth import SteppedPng

LAYOUT = """
<root>/Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg        left camera (Camera_1: right)
<root>/Scene01/clone/frames/depth/Camera_0/depth_00000.png    uint16 centimetres, 65535 for the sky
<root>/Scene01/clone/intrinsic.txt                            frame cameraID fx fy cx cy
<root>/Scene01/clone/extrinsic.txt                            frame cameraID and 16 numbers, camera_T_world
"""
_SIZE = (375, 1242)
_STEPS_PER_M = 100.0
_SKY = 65535


@dataclass(frozen=True, kw_only=True)
class VirtualKittiConfig:
    """What to read of Virtual KITTI 2."""

    root: Path
    """The folder of the scenes."""
    scenes: tuple[str, ...] = ()
    """As in ``Scene01``; none: all that are there."""
    variations: tuple[str, ...] = ("clone",)
    """As in ``clone``, ``fog`` or ``15-deg-left``."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    stereo: bool = True
    """Whether the right camera is a source."""
    poses: bool = True
    """Whether the exact poses are used."""
    labels: bool = True
    """Whether the exact depth may be learned from; else it is for watching and judging."""
    min_motion_m: float = 0.05
    """Sources nearer to the target than this are left out."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)


class VirtualKitti(FrameDataset):
    """Virtual KITTI 2.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: VirtualKittiConfig) -> None:
        name = f"Virtual KITTI 2 at {config.root}"
        findings = Findings(name, LAYOUT)
        found = [
            moment
            for folder in _folders(config, findings)
            for moment in moments(
                _shots(config, folder, findings),
                offsets=config.offsets,
                min_motion_m=config.min_motion_m,
                labels=config.labels,
                size=_SIZE,
            )
        ]
        if not found:
            findings.add(config.root, "has no usable frame")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, found)


def _folders(config: VirtualKittiConfig, findings: Findings) -> list[Path]:
    if not findings.has_folder(config.root, "root of Virtual KITTI 2"):
        return []
    scenes = config.scenes or tuple(sorted(path.name for path in config.root.glob("Scene*")))
    folders = [config.root / scene / variation for scene in scenes for variation in config.variations]
    return [folder for folder in folders if findings.has_folder(folder, "a variation of a scene")]


def _shots(config: VirtualKittiConfig, folder: Path, findings: Findings) -> dict[int, Shot]:
    lenses = _table(folder / "intrinsic.txt", 4, findings)
    poses = _table(folder / "extrinsic.txt", 16, findings)
    shots = {}
    for number, cameras in lenses.items():
        if 0 not in cameras:
            continue
        left, right = _frame(config, folder, number, 0), _frame(config, folder, number, 1)
        if not findings.has_file(left.path, "a frame of intrinsic.txt"):
            continue
        camera_T_world = {camera: _matrix(row) for camera, row in poses.get(number, {}).items()}
        stereo: tuple[MomentView, ...] = ()
        if config.stereo and right.path.is_file() and {0, 1} <= set(camera_T_world):
            right_T_left = (camera_T_world[1] @ np.linalg.inv(camera_T_world[0])).astype(np.float32)
            stereo = (MomentView(frame=right, source_T_target=right_T_left, role="stereo"),)
        depth = folder / "frames" / "depth" / "Camera_0" / f"depth_{number:05}.png"
        known = config.poses and 0 in camera_T_world
        shots[number] = Shot(
            frame=left,
            intrinsics=camera_matrix(*cameras[0]),
            world_T_camera=np.linalg.inv(camera_T_world[0]) if known else None,
            depth=SteppedPng(path=depth, steps_per_m=_STEPS_PER_M, beyond=_SKY) if depth.is_file() else None,
            stereo=stereo,
        )
    return shots


def _frame(config: VirtualKittiConfig, folder: Path, number: int, camera: int) -> Frame:
    path = folder / "frames" / "rgb" / f"Camera_{camera}" / f"rgb_{number:05}.jpg"
    return Frame(key=f"vkitti2/{folder.parent.name}/{folder.name}/Camera_{camera}/{number:05}", path=path)


def _table(path: Path, columns: int, findings: Findings) -> dict[int, dict[int, list[float]]]:
    """Read rows of a frame, a camera and so many numbers, below a line of headings."""
    rows: dict[int, dict[int, list[float]]] = defaultdict(dict)
    if not findings.has_file(path, "calibration of Virtual KITTI 2"):
        return rows
    for number, line in enumerate(read_text(path).splitlines()[1:], start=2):
        words = line.split()
        if not words:
            continue
        try:
            frame, camera, *values = int(words[0]), int(words[1]), *map(float, words[2:])
        except (ValueError, IndexError):
            values = []
        if len(values) != columns:
            findings.add(
                path, f"line {number} is {line[:60]!r}; expected frame, camera and {columns} numbers"
            )
            continue
        rows[frame][camera] = values
    return rows


def _matrix(row: list[float]) -> Matrix4:
    return np.array(row, np.float64).reshape(4, 4)
