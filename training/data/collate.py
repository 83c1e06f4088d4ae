"""Frame one prepared sample as its augmentation says, and stack several into a batch of tensors.

It does not know where samples come from or in which order. Conversions run in numpy on the calling thread,
because torch would start threads of its own in each of the loader's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8
from torch import Tensor

from training.data.augment import Augmentation, framing
from training.data.batch import Batch
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
    tokens: Float16[Tensor, "grids channels rows columns"] | None
    source_time: tuple[int, ...]


def frame(
    sample: Sample,
    augmentation: Augmentation,
    *,
    height: int,
    width: int,
    tokens: Float16[Tensor, "grids channels rows columns"] | None = None,
) -> FramedSample:
    """Apply what was drawn to a sample, its views, intrinsics, poses and depth."""
    rows, columns = sample.image.shape[:2]
    change = framing(augmentation, rows=rows, columns=columns, height=height, width=width)
    image = change.image(sample.image)
    sources = tuple(change.image(view.image) for view in sample.sources)
    relights = augmentation.relights
    poses = (view.source_T_target for view in sample.sources)
    return FramedSample(
        key=sample.key,
        image=image,
        image_relit=augmentation.relight(image) if relights else None,
        sources=sources,
        sources_relit=tuple(augmentation.relight(source) for source in sources) if relights else None,
        source_T_target=tuple(None if pose is None else change.pose(pose) for pose in poses),
        intrinsics=change.intrinsics(sample.intrinsics),
        depth_m=None if sample.depth_m is None else change.depth(sample.depth_m),
        depth_is_label=sample.depth_is_label,
        intrinsics_known=sample.intrinsics_known,
        tokens=tokens,
        source_time=tuple(_TIME[view.role] for view in sample.sources),
    )


def collate(samples: Sequence[FramedSample]) -> Batch:
    """Stack samples of one size. Views that a sample lacks are zeros and masked."""
    size, (height, width) = len(samples), samples[0].image.shape[:2]
    views = max(len(sample.sources) for sample in samples)
    relit = any(sample.image_relit is not None for sample in samples)
    image = np.empty((size, 3, height, width), np.float32)
    sources = np.zeros((size, views, 3, height, width), np.float32)
    image_relit = np.empty_like(image) if relit else image
    sources_relit = np.zeros_like(sources) if relit else sources
    source_mask = np.zeros((size, views), bool)
    pose_known = np.zeros((size, views), bool)
    source_time = np.zeros((size, views), np.int8)
    source_T_target = np.tile(np.eye(4, dtype=np.float32), (size, views, 1, 1))
    for row, sample in enumerate(samples):
        _to_planes(sample.image, image[row])
        if relit:
            _to_planes(sample.image_relit, image_relit[row], otherwise=image[row])
        for column, (source, pose) in enumerate(zip(sample.sources, sample.source_T_target, strict=True)):
            _to_planes(source, sources[row, column])
            if relit:
                other = None if sample.sources_relit is None else sample.sources_relit[column]
                _to_planes(other, sources_relit[row, column], otherwise=sources[row, column])
            source_mask[row, column] = True
            source_time[row, column] = sample.source_time[column]
            if pose is not None:
                source_T_target[row, column] = pose
                pose_known[row, column] = True
    depths = [sample.depth_m for sample in samples]
    return Batch(
        keys=tuple(sample.key for sample in samples),
        image=torch.from_numpy(image),
        image_augmented=torch.from_numpy(image_relit),
        sources=torch.from_numpy(sources),
        source_mask=torch.from_numpy(source_mask),
        source_T_target=torch.from_numpy(source_T_target),
        pose_known=torch.from_numpy(pose_known),
        intrinsics=torch.from_numpy(np.stack([sample.intrinsics for sample in samples])),
        depth_m=_depth(depths, height, width),
        depth_is_label=torch.tensor([sample.depth_is_label for sample in samples]),
        tokens=_tokens([sample.tokens for sample in samples]),
        sources_augmented=torch.from_numpy(sources_relit) if relit else None,
        intrinsics_known=torch.tensor([sample.intrinsics_known for sample in samples]),
        source_time=torch.from_numpy(source_time),
    )


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
