"""How still depth holds in video, and whether it stays true: asked of a running service.

    python benchmarks/steadiness.py DATA

The folder has `kitti_odometry` (sequence 04 with `velodyne_depth/`, and its poses) and
`kitti_raw/2011_09_26/2011_09_26_drive_traffic_sync` with its depth in `kitti_depth`. The *temporal alignment
error* is the median, over all pixels of all frames, of the relative difference between a frame's depth and
that of the frame before brought there by the true poses. What was measured goes to steadiness.md.
"""

import datetime
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro

from benchmarks.lens import GARG
from benchmarks.machine import processor
from benchmarks.process import serving
from depth_client import DepthClient, Intrinsics, Pose
from model.images import resize_image
from service.codec.scale import Scale
from service.codec.steadiness import SeenFrame, Steadier, View
from service.contract.basis import Basis

_FARTHEST_M = 80.0
_STEADINESSES = (0.0, 0.5, 0.8, 0.9)
_PAN_PX = 40
"""A frame; 32 degrees a second of KITTI's lens at 10 frames a second."""
_TRAFFIC = "2011_09_26_drive_traffic_sync"
_OTHER = "2011_09_26_drive_0095_sync"


@dataclass(frozen=True, kw_only=True)
class SteadinessBenchmark:
    """What is measured."""

    data: tyro.conf.Positional[Path]
    """With kitti_odometry, kitti_raw and kitti_depth."""
    model: Path | None = None
    """The checkpoint; the shipped student where None."""


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Frames, and what is known of them."""

    images: Sequence[np.ndarray]
    truths_m: Sequence[np.ndarray]
    """Of the first frames; zero where nothing was measured."""
    lens: Intrinsics | None = None
    poses: Sequence[Pose] = ()


@dataclass(frozen=True, kw_only=True)
class _Sent:
    image: np.ndarray
    pose: Pose | None


def read_drives(data: Path) -> tuple[Drive, Drive]:
    """Read sequence 04 and the traffic drive."""
    sequence = data / "kitti_odometry" / "sequences" / "04"
    found = re.search(r"^P2: (.*)$", (sequence / "calib.txt").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{sequence}/calib.txt has no P2; expected KITTI odometry's layout")
    p = [float(word) for word in found[1].split()]
    images = _images(sequence / "image_2")
    lines = (data / "kitti_odometry" / "poses" / "04.txt").read_text().splitlines()[: len(images)]
    road = Drive(
        images=images,
        truths_m=_truths(sequence / "velodyne_depth"),
        lens=Intrinsics(fx_px=p[0], fy_px=p[5], cx_px=p[2] + 0.5, cy_px=p[6] + 0.5),
        poses=[Pose(tuple(float(word) for word in line.split())) for line in lines],
    )
    depth = next((data / "kitti_depth" / _TRAFFIC).rglob("*.png")).parent
    return road, Drive(images=_images(_folder(data, _TRAFFIC)), truths_m=_truths(depth))


def _folder(data: Path, drive: str) -> Path:
    return data / "kitti_raw" / "2011_09_26" / drive / "image_02" / "data"


def _images(folder: Path) -> list[np.ndarray]:
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(folder.iterdir())]


def _truths(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) / 256.0 for path in sorted(folder.glob("*.png"))]


def depths(client: DepthClient, drive: Drive, steadiness: float, *, poses: bool = False) -> list[np.ndarray]:
    """Ask for a drive's depth of the network's size."""
    at: Sequence[Pose | None] = drive.poses if poses else [None] * len(drive.images)
    frames = [_Sent(image=image, pose=pose) for image, pose in zip(drive.images, at, strict=True)]
    wanted: dict[str, Any] = {} if drive.lens is None else {"lens": drive.lens}
    results = client.stream(
        frames,
        steadiness=steadiness,
        size="model",
        in_flight=1,  # frames that share a batch are rounded otherwise
        pose_of=lambda frame: frame.pose,
        **wanted,
    )
    return [result.unwrap().depth for result in results]


def alignment_error(maps: Sequence[np.ndarray], drive: Drive) -> float:
    """Return the temporal alignment error of maps."""
    assert drive.lens is not None
    height, width = maps[0].shape
    sent_height, sent_width = drive.images[0].shape[:2]
    across, down = width / sent_width, height / sent_height
    focal = np.array([drive.lens.fx_px * across, drive.lens.fy_px * down])
    centre = np.array([drive.lens.cx_px * across, drive.lens.cy_px * down])
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(columns - centre[0]) / focal[0], (rows - centre[1]) / focal[1], np.ones_like(rows)])
    errors = []
    for (then, now), (then_pose, now_pose) in zip(pairwise(maps), pairwise(drive.poses), strict=True):
        now_t_then = np.linalg.inv(_square(now_pose)) @ _square(then_pose)
        x, y, z = np.einsum("ij,jhw->ihw", now_t_then[:3, :3], rays * then) + now_t_then[:3, 3, None, None]
        column = np.floor(x / z * focal[0] + centre[0]).astype(int)
        row = np.floor(y / z * focal[1] + centre[1]).astype(int)
        inside = (z > 0.1) & (then < _FARTHEST_M)
        inside &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = now[row[inside], column[inside]]
        errors.append(np.abs(z[inside] - found) / found)
    return float(np.median(np.concatenate(errors)))


def _square(pose: Pose) -> np.ndarray:
    return np.vstack([pose.rows, [0, 0, 0, 1]])


def abs_rel(maps: Sequence[np.ndarray], drive: Drive) -> float:
    """Return the mean relative error against LiDAR in Garg's crop, each frame scaled by its median."""
    errors = []
    for depth, truth in zip(maps, drive.truths_m, strict=False):
        height, width = truth.shape
        counts = np.zeros(truth.shape, bool)
        (top, bottom), (left, right) = GARG
        counts[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
        counts &= (truth > 1e-3) & (truth < _FARTHEST_M)
        measured, found = truth[counts], 1 / cv2.resize(1 / depth, (width, height))[counts]
        found = found * np.median(measured) / np.median(found)
        errors.append(np.mean(np.abs(np.clip(found, 1e-3, _FARTHEST_M) - measured) / measured))
    return float(np.mean(errors))


def steadied(client: DepthClient, road: Drive, traffic: Drive) -> Iterator[str]:
    """Yield a row for each steadiness."""
    yield "| steadiness | poses | alignment error, sequence 04, % | AbsRel, sequence 04 | AbsRel, traffic |"
    yield "| ---: | --- | ---: | ---: | ---: |"
    for steadiness in _STEADINESSES:
        for poses in (False, True) if steadiness else (False,):
            held = depths(client, road, steadiness, poses=poses)
            apart = "-" if poses else f"{abs_rel(depths(client, traffic, steadiness), traffic):.4f}"
            yield (
                f"| {steadiness:g} | {'yes' if poses else 'no'} | {100 * alignment_error(held, road):.2f} | "
                f"{abs_rel(held, road):.4f} | {apart} |"
            )


def pan(client: DepthClient, road: Drive) -> str:
    """Say how a window that moves over one photograph is held."""
    whole = road.images[0]
    width = whole.shape[1] * 2 // 3
    windows = [whole[:, start : start + width] for start in range(0, whole.shape[1] - width, _PAN_PX)]
    drive = Drive(images=[np.ascontiguousarray(each) for each in windows], truths_m=())
    errors = []
    for steadiness in (0.0, 0.8):
        maps = [cv2.resize(each, (width, 192)) for each in depths(client, drive, steadiness)]
        moved = [np.abs(np.log(a[:, _PAN_PX:] / b[:, :-_PAN_PX])) for a, b in pairwise(maps)]
        errors.append(100 * float(np.median(moved)))
    return (
        f"- A pan of {_PAN_PX} pixels a frame ({len(windows)} windows of one photograph): a place's depth "
        f"changes by {errors[0]:.2f} % from frame to frame, and held by {errors[1]:.2f} %."
    )


def cut(client: DepthClient, traffic: Drive, other: Sequence[np.ndarray]) -> str:
    """Say how far the first frame after a cut is from itself alone."""
    joined = Drive(images=[*traffic.images[:5], *other[:2]], truths_m=())
    raw, held = depths(client, joined, 0.0), depths(client, joined, 0.8)
    off = [float(np.abs(a / b - 1).max()) for a, b in zip(held, raw, strict=True)]
    return (
        f"- The first frame after a cut differs from itself alone by {off[5]:g} at most; the one before the "
        f"cut by {off[4]:.3f}."
    )


def cost(road: Drive) -> str:
    """Say what a frame costs at the network's size, in one thread."""
    cv2.setNumThreads(1)
    height, width = 192, 640
    images = [resize_image(image, height, width) for image in road.images]
    slope = np.linspace(0.02, 0.2, height, dtype=np.float32)[:, None] * np.ones(width, np.float32)
    assert road.lens is not None
    scale = Scale(factor=1.0, unit="metre", source="checkpoint", basis=Basis())
    views = [View(pose=pose, lens=road.lens, scale=scale) for pose in road.poses]
    rows: dict[str, list[float]] = {"without poses": [], "with poses": []}
    steadiers = {name: Steadier(0.8) for name in rows}
    for _ in range(10):
        for pixels, view in zip(images, views, strict=True):
            for name, steadier in steadiers.items():
                frame = SeenFrame(
                    pixels=pixels,
                    disparity=slope,
                    source=0,
                    view=view if name == "with poses" else None,
                )
                rows[name].append(_timed(lambda steadier=steadier, frame=frame: steadier.steady(frame)))
    told = ", ".join(f"{1e3 * statistics.median(each):.2f} ms {name}" for name, each in rows.items())
    return f"- A frame of {width}x{height} costs {told} (median, one thread)."


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    command = tyro.cli(SteadinessBenchmark, args=arguments, description=__doc__)
    road, traffic = read_drives(command.data)
    other = _images(_folder(command.data, _OTHER))[:2]
    settings = {} if command.model is None else {"models": command.model}
    with (
        serving(**settings) as service,
        DepthClient(f"grpc://127.0.0.1:{service.grpc_port}", timeout_s=120) as client,
    ):
        info = next(each for each in client.models() if each.default)
        rows = list(steadied(client, road, traffic))
        exact = [pan(client, road), cut(client, traffic, other)]
    text = [
        "# Depth that holds still",
        "",
        f"`python benchmarks/steadiness.py DATA`, {datetime.datetime.now(datetime.UTC).date()}, "
        f"{processor()}. Model `{info.name}`, asked of a running service over gRPC, at the network's size. "
        "The alignment error is the median over all pixels nearer than 80 m; AbsRel is against LiDAR in "
        "Garg's crop, median-scaled.",
        "",
        *rows,
        "",
        *exact,
        cost(road),
    ]
    print("\n".join(text))
    if command.model is None:
        Path(__file__).with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
