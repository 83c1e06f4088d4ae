"""DDAD and other data in the DGP layout: videos of cameras, poses, LiDAR (Guizilini et al., CVPR 2020)."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from training.data.frames import Frame, FrameDataset, FrameError, Moment, check_offsets
from training.data.layout import Findings
from training.data.posed import Matrix4, Shot, camera_matrix, moments, rigid
from training.data.stored_depth import PointDepth

LAYOUT = """
<root>/<list>.json                                     scene_splits: scene files of each split
<root>/<scene>/scene_*.json                            samples and their data
<root>/<scene>/calibration/<key>.json                  intrinsics and places on the car, by the sensors' names
<root>/<scene>/rgb/CAMERA_01/*.png, point_cloud/LIDAR/*.npz
"""
_SPLITS = {"train": "0", "val": "1", "test": "2"}
"""The numbers that the layout gives its splits."""
_CLOUD = "LIDAR"


@dataclass(frozen=True, kw_only=True)
class DgpConfig:
    """What to read of DDAD or another DGP data set."""

    root: Path
    """The folder of the list."""
    list: str = "ddad.json"
    split: str = "train"
    """train, val or test."""
    cameras: tuple[str, ...] = ("CAMERA_01",)
    """DDAD has 01 in front, then 05, 06, 07, 08 and 09."""
    scenes: tuple[str, ...] = ()
    """Folders of scenes, as in ``000150``; none: all of the split."""
    offsets: tuple[int, ...] = (-1, 1)
    """Source frames, counted from the target."""
    poses: bool = True
    """Whether the car's poses are used."""
    min_motion_m: float = 0.05
    """Sources nearer to the target than this are left out where the poses tell."""
    depth: bool = False
    """Whether LiDAR is projected into the frames, to watch and to judge."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        if self.split not in _SPLITS:
            raise ValueError(f"split is {self.split!r}; expected one of {', '.join(_SPLITS)}")


class Dgp(FrameDataset):
    """A DGP data set, DDAD above all.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: DgpConfig) -> None:
        name = f"{Path(config.list).stem.upper()} at {config.root} ({config.split})"
        findings = Findings(name, LAYOUT)
        found = [
            moment for scene in _scenes(config, findings) for moment in _moments(config, scene, findings)
        ]
        if not found and not findings:
            findings.add(config.root, f"has no usable frame in its split {config.split}")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, found)


def _scenes(config: DgpConfig, findings: Findings) -> list[Path]:
    path = config.root / config.list
    if not findings.has_file(path, "list of scenes"):
        return []
    splits = _read(path, findings).get("scene_splits", {})
    names = splits.get(_SPLITS[config.split], splits.get(config.split, {})).get("filenames", [])
    scenes = [
        config.root / name for name in names if not config.scenes or Path(name).parts[0] in config.scenes
    ]
    return [scene for scene in scenes if findings.has_file(scene, "a scene of the list")]


def _moments(config: DgpConfig, scene: Path, findings: Findings) -> Iterator[Moment]:
    content = _read(scene, findings)
    data = {one["key"]: one for one in content.get("data", [])}
    videos: dict[str, dict[int, Shot]] = defaultdict(dict)
    sizes: dict[str, tuple[int, int]] = {}
    for number, sample in enumerate(content.get("samples", [])):
        calibration = _calibration(
            scene.parent / "calibration" / f"{sample['calibration_key']}.json", findings
        )
        shown = {data[key]["id"]["name"]: data[key]["datum"] for key in sample["datum_keys"] if key in data}
        for camera in config.cameras:
            if camera not in shown or camera not in calibration:
                continue
            image = shown[camera]["image"]
            path = scene.parent / image["filename"]
            if not findings.has_file(path, "a frame of a scene"):
                continue
            cloud = shown.get(_CLOUD, {}).get("point_cloud") if config.depth else None
            key = f"dgp/{scene.parent.name}/{camera}/{path.stem}"
            videos[camera][number] = _shot(
                config, Frame(key=key, path=path), image, cloud, calibration[camera]
            )
            if "height" in image and "width" in image:
                sizes[camera] = (int(image["height"]), int(image["width"]))
    for camera, shots in videos.items():
        yield from moments(
            shots, offsets=config.offsets, min_motion_m=config.min_motion_m, size=sizes.get(camera)
        )


def _shot(
    config: DgpConfig,
    frame: Frame,
    image: dict[str, Any],
    cloud: dict[str, Any] | None,
    lens: dict[str, float],
) -> Shot:
    intrinsics = camera_matrix(lens["fx"], lens["fy"], lens["cx"], lens["cy"])
    world_T_camera = _pose(image["pose"])
    depth = None
    if cloud is not None:
        depth = PointDepth(
            path=frame.path.parents[2] / cloud["filename"],
            load=read_points,
            camera_T_scanner=np.linalg.inv(world_T_camera) @ _pose(cloud["pose"]),
            intrinsics=intrinsics,
        )
    return Shot(
        frame=frame,
        intrinsics=intrinsics,
        world_T_camera=world_T_camera if config.poses else None,
        depth=depth,
    )


def _calibration(path: Path, findings: Findings) -> dict[str, dict[str, float]]:
    """Return the lens of each sensor by its name."""
    if not findings.has_file(path, "calibration of a sample"):
        return {}
    content = _read(path, findings)
    return dict(zip(content.get("names", []), content.get("intrinsics", []), strict=False))


def _pose(pose: dict[str, Any]) -> Matrix4:
    """Return world_T_sensor of a datum."""
    turn, place = pose["rotation"], pose["translation"]
    quaternion = [float(turn.get(name, 0.0)) for name in ("qw", "qx", "qy", "qz")]
    return rigid([float(place.get(name, 0.0)) for name in ("x", "y", "z")], quaternion)


def read_points(path: Path) -> Float32[np.ndarray, "points 3"]:
    """Read a scan's x, y, z in metres from the ``data`` of an .npz file.

    Raises:
        FrameError: It has no such array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            points: Float32[np.ndarray, "points 3"] = file["data"][:, :3].astype(np.float32)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise FrameError(path, f"is no point cloud ({error})") from error
    return points


def _read(path: Path, findings: Findings) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        findings.add(path, f"is no JSON ({error})")
        return {}
    return content
