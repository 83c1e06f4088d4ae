"""One camera's video whose poses are known, as samples: which frames are shown beside which."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from training.data.frames import DepthFile, Frame, Moment, MomentView, role_of

Matrix4 = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """A frame of such a video."""

    frame: Frame
    intrinsics: Float32[np.ndarray, "3 3"]
    """In pixels, with pixel centres at +0.5."""
    world_T_camera: Matrix4 | None = None
    depth: DepthFile | None = None
    stereo: tuple[MomentView, ...] = ()


def moments(
    shots: Mapping[int, Shot],
    *,
    offsets: Sequence[int],
    min_motion_m: float,
    only_with_depth: bool = False,
    labels: bool = False,
    size: tuple[int, int] | None = None,
) -> Iterator[Moment]:
    """Yield a sample for each frame that has a view, or for each where none is asked for.

    Args:
        shots: By their numbers in time.
        offsets: Source frames, counted from the target.
        min_motion_m: Sources nearer to the target than this are left out where poses tell.
        only_with_depth: Whether frames without depth are left out.
        labels: Whether depth is exact, and may be learned from.
        size: Height and width of the images that were calibrated; None: not known.
    """
    for number, shot in shots.items():
        views = [*views_in_time(shots, number, offsets, min_motion_m), *shot.stereo]
        if (offsets and not views) or (only_with_depth and shot.depth is None):
            continue
        yield Moment(
            frame=shot.frame,
            intrinsics=shot.intrinsics,
            views=tuple(views),
            depth=shot.depth,
            depth_is_label=labels and shot.depth is not None,
            calibrated=size,
        )


def views_in_time(
    shots: Mapping[int, Shot], number: int, offsets: Sequence[int], min_motion_m: float
) -> Iterator[MomentView]:
    """Yield the frames at the offsets from one, with their poses where both are known."""
    target = shots[number]
    for offset in offsets:
        source = shots.get(number + offset)
        if source is None:
            continue
        source_T_target = None
        if source.world_T_camera is not None and target.world_T_camera is not None:
            moved = np.linalg.inv(source.world_T_camera) @ target.world_T_camera
            if np.linalg.norm(moved[:3, 3]) < min_motion_m:
                continue
            source_T_target = moved.astype(np.float32)
        yield MomentView(frame=source.frame, source_T_target=source_T_target, role=role_of(offset))


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> Float32[np.ndarray, "3 3"]:
    """Return intrinsics with pixel centres at +0.5 from such as count centres from 0."""
    return np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]], np.float32)


def rigid(translation: Sequence[float], quaternion_wxyz: Sequence[float]) -> Matrix4:
    """Return the transform of a unit quaternion and a translation.

    Raises:
        ValueError: The quaternion has no direction.
    """
    w, x, y, z = np.asarray(quaternion_wxyz, np.float64)
    norm = float(w * w + x * x + y * y + z * z)
    if not 0 < norm < np.inf:
        raise ValueError(f"the quaternion {tuple(quaternion_wxyz)} is no rotation")
    s = 2 / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix


def key_of(kind: str, root: Path, path: Path) -> str:
    """Return a stable name of a frame below a data set's root."""
    return f"{kind}/{path.relative_to(root).with_suffix('').as_posix()}"
