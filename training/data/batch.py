"""The record of one training batch: samples of one size as tensors, ready for a step."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Int8, Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many views of which kind a batch has: what decides shapes, and so has to be known to the host."""

    moved: Int64[Tensor, "moved 2"]
    """Sample and view of each view that was taken at another time."""
    unknown: Int64[Tensor, "unknown 2"]
    """Likewise, of those whose pose the data does not know."""
    every_pose_known: bool
    """Of all places for views, those that hold none included."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B samples with S source views each; images are RGB in [0, 1]."""

    keys: tuple[str, ...]
    """The samples' keys, in order."""
    image: Float[Tensor, "batch 3 height width"]
    """The target as photographed: what view synthesis is compared with."""
    image_augmented: Float[Tensor, "batch 3 height width"]
    """The target in other colours and light: what the networks see."""
    sources: Float[Tensor, "batch views 3 height width"]
    """The source views as photographed; zeros where ``source_mask`` is False."""
    source_mask: Bool[Tensor, "batch views"]
    """Whether the view exists. S is the largest number of views in the batch."""
    source_T_target: Float32[Tensor, "batch views 4 4"]
    """Moves points from the target's camera to the source's, in metres; the identity where not known."""
    pose_known: Bool[Tensor, "batch views"]
    """Whether ``source_T_target`` was given by the data; otherwise ask the pose network."""
    intrinsics: Float32[Tensor, "batch 3 3"]
    """In pixels of ``image``, with pixel centres at +0.5."""
    depth_m: Float32[Tensor, "batch 1 height width"] | None
    """0 where nothing was measured; None if no sample of the batch has depth."""
    depth_is_label: Bool[Tensor, " batch"]
    """Whether the sample's depth may supervise training."""
    tokens: tuple[Float[Tensor, "batch _ _ _"], ...] | None
    """The foundation model's cached token grids of ``image``, flipped if it is; None: not cached."""
    sources_augmented: Float[Tensor, "batch views 3 height width"] | None = None
    """The source views in the target's light, for the pose network; None: ``sources`` itself."""
    intrinsics_known: Bool[Tensor, " batch"] | None = None
    """Where False, ``intrinsics`` is a starting point to be learned; None: all are known."""
    mask: Bool[Tensor, "batch 1 height width"] | None = None
    """False where images show what moves with the camera, in all views alike; None: nowhere."""
    camera: Int64[Tensor, " batch"] | None = None
    """Which of the learned cameras a sample's is, where ``intrinsics_known`` is False; None: the only one."""
    source_time: Int8[Tensor, "batch views"] | None = None
    """-1: taken before the target, 1: after it, 0: at the same time by the other camera; None: not known."""
    counted: "Counted | None" = None
    """What the host knows of the views; None: it has to ask the device, and waits for it."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def through_time(self) -> Bool[Tensor, "batch views"]:
        """Which views were taken at another time; all that exist where the batch does not tell."""
        return through_time(self.source_mask, self.source_time)

    def count(self) -> "Counted":
        """Return what is to be known of the views before a step, as it was counted or now."""
        if self.counted is not None:
            return self.counted
        return count_views(self.source_mask, self.pose_known, self.source_time)

    @property
    def pose_views(self) -> Float[Tensor, "batch views 3 height width"]:
        """The source views that go with ``image_augmented`` into the pose network."""
        return self.sources if self.sources_augmented is None else self.sources_augmented

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device, without waiting for the copy from pinned memory."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which copies to a GPU overlap.

        Untested here: no GPU.
        """
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self, **{field.name: mapped(getattr(self, field.name), function) for field in fields(self)}
        )


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return a field of a batch with a function applied to every tensor that it holds."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Counted):
        return replace(value, moved=function(value.moved), unknown=function(value.unknown))
    if isinstance(value, tuple):
        return tuple(mapped(one, function) for one in value)
    return value


def through_time(
    source_mask: Bool[Tensor, "batch views"], source_time: Int8[Tensor, "batch views"] | None
) -> Bool[Tensor, "batch views"]:
    """Return which views were taken at another time; all that exist where nothing tells."""
    return source_mask if source_time is None else source_mask & (source_time != 0)


def count_views(
    source_mask: Bool[Tensor, "batch views"],
    pose_known: Bool[Tensor, "batch views"],
    source_time: Int8[Tensor, "batch views"] | None,
) -> Counted:
    """Count a batch's views; on a device, the host waits for it."""
    moved = through_time(source_mask, source_time)
    return Counted(
        moved=moved.nonzero(),
        unknown=(moved & ~pose_known).nonzero(),
        every_pose_known=bool(pose_known.all()),
    )
