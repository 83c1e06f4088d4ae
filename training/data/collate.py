"""Frame one prepared sample as its augmentation says, and stack several into a batch of tensors.

Conversions run in numpy on the calling thread, because torch would start threads of its own in each of the
loader's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, UInt8
from torch import Tensor

from training.data.augment import Augmentation, framing
from training.data.batch import Batch, count_views
from training.data.relight import Light, RawBatch
from training.data.sequence import Role, Sample

Image = UInt8[np.ndarray, "height width 3"]
Planes = Float32[np.ndarray, "3 height width"]
_TO_UNIT = np.float32(1 / 255)
_TIME: Mapping[Role, int] = {"previous": -1, "stereo": 0, "next": 1}


@dataclass(frozen=True, kw_only=True)
class FramedSample:
    """A sample at the network's input size, augmented."""

    key: str
    image: Image
    image_relit: Image | None
    """None: the same as ``image``."""
    sources: tuple[Image, ...]
    sources_relit: tuple[Image, ...] | None
    source_T_target: tuple[Float32[np.ndarray, "4 4"] | None, ...]
    intrinsics: Float32[np.ndarray, "3 3"]
    depth_m: Float32[np.ndarray, "height width"] | None
    depth_is_label: bool
    intrinsics_known: bool
    camera: str
    mask: Bool[np.ndarray, "height width"] | None
    tokens: Float16[Tensor, "grids channels rows columns"] | None
    source_time: tuple[int, ...]
    light: Augmentation = field(default_factory=Augmentation)
    """What is left to be done to the light, on the device."""


def frame(
    sample: Sample,
    augmentation: Augmentation,
    *,
    height: int,
    width: int,
    tokens: Float16[Tensor, "grids channels rows columns"] | None = None,
    relight: bool = True,
) -> FramedSample:
    """Apply what was drawn to a sample, its views, intrinsics, poses and depth; to its light, or note it."""
    rows, columns = sample.image.shape[:2]
    change = framing(augmentation, rows=rows, columns=columns, height=height, width=width)
    image = change.image(sample.image)
    sources = tuple(change.image(view.image) for view in sample.sources)
    relights = relight and augmentation.relights
    poses = (view.source_T_target for view in sample.sources)
    mask = None if sample.mask is None else change.mask(sample.mask)
    depth_m = None if sample.depth_m is None else change.depth(sample.depth_m)
    if mask is not None and depth_m is not None:  # of what moves with the camera, or of what it mirrors
        depth_m = np.where(mask, depth_m, np.float32(0))
    return FramedSample(
        key=sample.key,
        image=image,
        image_relit=augmentation.relight(image) if relights else None,
        sources=sources,
        sources_relit=tuple(augmentation.relight(source) for source in sources) if relights else None,
        source_T_target=tuple(None if pose is None else change.pose(pose) for pose in poses),
        intrinsics=change.intrinsics(sample.intrinsics),
        depth_m=depth_m,
        depth_is_label=sample.depth_is_label,
        intrinsics_known=sample.intrinsics_known,
        camera=sample.camera,
        mask=mask,
        tokens=tokens,
        source_time=tuple(_TIME[view.role] for view in sample.sources),
        light=Augmentation() if relight else augmentation,
    )


def canonical(framed: FramedSample, fy_per_height: float) -> FramedSample:
    """Return a sample as the camera of one lens would have it: all metres multiplied by one factor.

    Depth and the moves between views grow by the canonical ratio over the sample's own, so that views still
    warp onto each other, and things of one size on the network's input have one depth (Yin et al.,
    "Metric3D", ICCV 2023, section 3.2, where labels are transformed).

    Args:
        framed: A sample, as it goes into a batch.
        fy_per_height: The vertical focal length over the image's height, of the canonical lens.

    Raises:
        ValueError: The sample's own lens is not known.
    """
    if not framed.intrinsics_known:
        raise ValueError(
            f"batch.canonical_fy_per_height is {fy_per_height}, and the lens of {framed.key} is not known; "
            "expected None, or data with intrinsics"
        )
    own = framed.intrinsics[1, 1] / framed.image.shape[0]
    return multiplied(framed, fy_per_height / float(own))


def multiplied(framed: FramedSample, factor: float) -> FramedSample:
    """Return a sample whose metres are multiplied: depth, and the moves between views."""
    moves = np.ones((4, 4), np.float32)
    moves[:3, 3] = factor
    return replace(
        framed,
        depth_m=None if framed.depth_m is None else framed.depth_m * np.float32(factor),
        source_T_target=tuple(None if pose is None else pose * moves for pose in framed.source_T_target),
    )


def collate(samples: Sequence[FramedSample], cameras: Sequence[str] = ()) -> Batch:
    """Stack samples of one size. Views that a sample lacks are zeros and masked.

    Args:
        samples: At least one.
        cameras: The names of those that are learned, in their order.
    """
    size, (height, width) = len(samples), samples[0].image.shape[:2]
    views = max(len(sample.sources) for sample in samples)
    relit = any(sample.image_relit is not None for sample in samples)
    image = np.empty((size, 3, height, width), np.float32)
    sources = np.zeros((size, views, 3, height, width), np.float32)
    image_relit = np.empty_like(image) if relit else image
    sources_relit = np.zeros_like(sources) if relit else sources
    for row, sample in enumerate(samples):
        _to_planes(sample.image, image[row])
        if relit:
            _to_planes(sample.image_relit, image_relit[row], otherwise=image[row])
        for column, source in enumerate(sample.sources):
            _to_planes(source, sources[row, column])
            if relit:
                other = None if sample.sources_relit is None else sample.sources_relit[column]
                _to_planes(other, sources_relit[row, column], otherwise=sources[row, column])
    return Batch(
        image=torch.from_numpy(image),
        image_augmented=torch.from_numpy(image_relit),
        sources=torch.from_numpy(sources),
        sources_augmented=torch.from_numpy(sources_relit) if relit else None,
        **_facts(samples, cameras),
    )


def collate_raw(samples: Sequence[FramedSample], cameras: Sequence[str] = ()) -> RawBatch:
    """Stack samples as `collate` does, but leave images bytes, and their light to the device.

    Args:
        samples: At least one, framed without relighting.
        cameras: The names of those that are learned, in their order.
    """
    facts = _facts(samples, cameras)
    counted = count_views(facts["source_mask"], facts["pose_known"], facts["source_time"])
    image = np.stack([sample.image for sample in samples])
    sources = np.zeros((*facts["source_mask"].shape, *image.shape[1:]), np.uint8)
    for row, sample in enumerate(samples):
        for column, source in enumerate(sample.sources):
            sources[row, column] = source
    drawn = [sample.light for sample in samples]
    return RawBatch(
        image=torch.from_numpy(image),
        sources=torch.from_numpy(sources),
        light=Light.of(drawn) if any(one.relights for one in drawn) else None,
        facts={**facts, "counted": counted},
    )


def _facts(samples: Sequence[FramedSample], cameras: Sequence[str]) -> dict[str, Any]:
    """Return all fields of a batch but its images."""
    size, (height, width) = len(samples), samples[0].image.shape[:2]
    views = max(len(sample.sources) for sample in samples)
    source_mask = np.zeros((size, views), bool)
    pose_known = np.zeros((size, views), bool)
    source_time = np.zeros((size, views), np.int8)
    source_T_target = np.tile(np.eye(4, dtype=np.float32), (size, views, 1, 1))
    for row, sample in enumerate(samples):
        for column, pose in enumerate(sample.source_T_target):
            source_mask[row, column] = True
            source_time[row, column] = sample.source_time[column]
            if pose is not None:
                source_T_target[row, column] = pose
                pose_known[row, column] = True
    mask, known, when = (torch.from_numpy(one) for one in (source_mask, pose_known, source_time))
    return {
        "keys": tuple(sample.key for sample in samples),
        "source_mask": mask,
        "source_T_target": torch.from_numpy(source_T_target),
        "pose_known": known,
        "intrinsics": torch.from_numpy(np.stack([sample.intrinsics for sample in samples])),
        "depth_m": _depth([sample.depth_m for sample in samples], height, width),
        "depth_is_label": torch.tensor([sample.depth_is_label for sample in samples]),
        "tokens": _tokens([sample.tokens for sample in samples]),
        "intrinsics_known": torch.tensor([sample.intrinsics_known for sample in samples]),
        "camera": torch.tensor(
            [cameras.index(sample.camera) if sample.camera in cameras else 0 for sample in samples]
        ),
        "source_time": when,
        "mask": _masks([sample.mask for sample in samples], height, width),
    }


def _to_planes(image: Image | None, planes: Planes, otherwise: Planes | None = None) -> None:
    """Write an image, or else a copy of other planes, channels first in [0, 1]."""
    if image is None:
        planes[...] = otherwise
        return
    for plane, channel in zip(planes, cv2.split(image), strict=True):
        np.multiply(channel, _TO_UNIT, out=plane)


def _depth(
    depths: Sequence[Float32[np.ndarray, "height width"] | None], height: int, width: int
) -> Float32[Tensor, "batch 1 height width"] | None:
    if all(depth is None for depth in depths):
        return None
    stacked = np.zeros((len(depths), 1, height, width), np.float32)
    for row, depth in zip(stacked, depths, strict=True):
        if depth is not None:
            row[0] = depth
    return torch.from_numpy(stacked)


def _tokens(
    entries: Sequence[Float16[Tensor, "grids channels rows columns"] | None],
) -> tuple[Float32[Tensor, "batch _ _ _"], ...] | None:
    """One float32 tensor a grid; None where any sample has none."""
    found = [entry.numpy() for entry in entries if entry is not None]
    if len(found) < len(entries):
        return None
    stacked = np.stack(found, axis=1, dtype=np.float32)
    return tuple(torch.from_numpy(grid) for grid in stacked)


def _masks(
    masks: Sequence[Bool[np.ndarray, "height width"] | None], height: int, width: int
) -> Bool[Tensor, "batch 1 height width"] | None:
    """Stack masks; None where no sample has one."""
    if all(mask is None for mask in masks):
        return None
    everywhere = np.ones((height, width), bool)
    return torch.from_numpy(np.stack([everywhere if mask is None else mask for mask in masks])[:, None])
