"""TUM RGB-D sequences: a handheld camera's colour, depth and tracked poses (Sturm et al., IROS 2012)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.frames import Frame, FrameDataset, check_offsets
from training.data.layout import Findings, read_text
from training.data.posed import Shot, camera_matrix, key_of, moments, rigid
from training.data.stored_depth import SteppedPng

LAYOUT = """
<root>/rgb.txt, depth.txt      lines: timestamp filename
<root>/groundtruth.txt         lines: timestamp tx ty tz qx qy qz qw, of the colour camera (optional)
<root>/rgb/*.png, depth/*.png  colour, and uint16 depth of 5000 steps a metre
"""
_STEPS_PER_M = 5000.0
_SIZE = (480, 640)
_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
"""fx, fy, cx, cy of the three cameras, as the data set's pages publish them."""


@dataclass(frozen=True, kw_only=True)
class TumRgbdConfig:
    """What to read of a TUM RGB-D sequence."""

    root: Path
    """The folder of ``rgb.txt``."""
    intrinsics_px: tuple[float, ...] = ()
    """fx, fy, cx, cy; none: those of the camera that the folder's name tells (freiburg1, 2 or 3)."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    max_apart_s: float = 0.02
    """Colour, depth and pose belong together where their times differ by less."""
    min_motion_m: float = 0.005
    """Sources nearer to the target than this are left out where the poses tell."""
    depth: bool = True
    """Whether the depth camera's frames are read."""
    only_with_depth: bool = False
    """Whether frames without depth are left out."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        if self.intrinsics_px and len(self.intrinsics_px) != 4:
            raise ValueError(f"intrinsics_px is {self.intrinsics_px}; expected fx,fy,cx,cy")


class TumRgbd(FrameDataset):
    """A TUM RGB-D sequence. Depth is taken to watch and to judge.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: TumRgbdConfig) -> None:
        name = f"TUM RGB-D at {config.root}"
        findings = Findings(name, LAYOUT)
        shots = _shots(config, findings)
        if not shots and not findings:
            findings.add(config.root, "has no frame")
        findings.raise_if_any()
        found = moments(
            shots,
            offsets=config.offsets,
            min_motion_m=config.min_motion_m,
            only_with_depth=config.only_with_depth,
            size=_SIZE,
        )
        super().__init__(name, LAYOUT, list(found))


def _shots(config: TumRgbdConfig, findings: Findings) -> dict[int, Shot]:
    values = config.intrinsics_px or next(
        (camera for part, camera in _CAMERAS.items() if part in config.root.name), ()
    )
    if not values:
        findings.add(
            config.root, f"names no camera of {', '.join(_CAMERAS)}; expected intrinsics_px=fx,fy,cx,cy"
        )
    colour = _timed(config.root / "rgb.txt", findings, columns=1)
    depth = _timed(config.root / "depth.txt", findings, columns=1) if config.depth else {}
    truth = config.root / "groundtruth.txt"
    poses = _timed(truth, findings, columns=7) if truth.is_file() else {}
    if findings:
        return {}
    intrinsics = camera_matrix(*values)
    shots = {}
    for number, (time_s, (file,)) in enumerate(sorted(colour.items())):
        nearest_depth = _nearest(depth, time_s, config.max_apart_s)
        pose = _nearest(poses, time_s, config.max_apart_s)
        path = config.root / file
        if not findings.has_file(path, "a frame of rgb.txt"):
            continue
        shots[number] = Shot(
            frame=Frame(key=key_of(f"tum-rgbd/{config.root.name}", config.root, path), path=path),
            intrinsics=intrinsics,
            world_T_camera=None if pose is None else _pose(pose),
            depth=None
            if nearest_depth is None
            else SteppedPng(path=config.root / nearest_depth[0], steps_per_m=_STEPS_PER_M),
        )
    return shots


def _timed(path: Path, findings: Findings, *, columns: int) -> dict[float, list[str]]:
    """Read lines of a time and so many columns."""
    if not findings.has_file(path, "list of a TUM RGB-D sequence"):
        return {}
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            time_s = float(words[0])
            if columns > 1:
                [float(word) for word in words[1:]]
        except ValueError:
            findings.add(path, f"line {number} is {line!r}; expected a time and {columns} columns")
            continue
        if len(words) != 1 + columns:
            findings.add(path, f"line {number} is {line!r}; expected a time and {columns} columns")
            continue
        found[time_s] = words[1:]
    return found


def _nearest(rows: dict[float, list[str]], time_s: float, within_s: float) -> list[str] | None:
    if not rows:
        return None
    times = np.fromiter(rows, np.float64)
    best = float(times[np.abs(times - time_s).argmin()])
    return rows[best] if abs(best - time_s) < within_s else None


def _pose(row: list[str]) -> np.ndarray:
    tx, ty, tz, qx, qy, qz, qw = map(float, row)
    return rigid((tx, ty, tz), (qw, qx, qy, qz))
