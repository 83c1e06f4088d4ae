"""The record of one training batch: samples of one size as tensors, ready for a step.

It does not know how samples were read or augmented, nor what the step makes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Int8
from torch import Tensor


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
    source_time: Int8[Tensor, "batch views"] | None = None
    """-1: taken before the target, 1: after it, 0: at the same time by the other camera; None: not known."""

    def __len__(self) -> int:
        return len(self.keys)

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
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = function(value)
            elif field.name == "tokens" and value is not None:
                changes[field.name] = tuple(function(grid) for grid in value)
        return replace(self, **changes)
