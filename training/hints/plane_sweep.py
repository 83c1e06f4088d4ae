"""Plane sweep: how well each of many depths explains each pixel of a frame by views of known poses.

Planes are even in inverse depth, as errors of matching are (Collins, "A Space-Sweep Approach to True
Multi-Image Matching", CVPR 1996). A pixel is compared by the photometric error of `training.losses`, and
counts as the mean over the better half of its views, because what one view cannot see, one from the other
side usually can.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from training.geometry import warp
from training.losses.photometric import PhotometricConfig, PhotometricError

UNSEEN = 0.5
"""The cost where no view sees the pixel at that depth: that of unrelated textures."""


def cost_volume(
    target: Float32[Tensor, "channels height width"],
    sources: Float32[Tensor, "views channels height width"],
    intrinsics: Float32[Tensor, "3 3"],
    source_T_target: Float32[Tensor, "views 4 4"],
    disparities: Sequence[float],
) -> Float32[np.ndarray, "height width planes"]:
    """Return the cost of every disparity at every pixel, 0 (explained) to 1.

    Args:
        target: The frame, 0 to 1.
        sources: Its views, of the same size and intrinsics.
        intrinsics: In pixels of these images.
        source_T_target: In metres.
        disparities: Planes, in 1/m.
    """
    height, width = target.shape[-2:]
    error = PhotometricError(target[None], PhotometricConfig())
    cost = np.empty((height, width, len(disparities)), np.float32)
    wanted = (len(sources) + 1) // 2
    with torch.inference_mode():
        for plane, disparity in enumerate(disparities):
            flat = target.new_full((1, 1, height, width), disparity)
            seen = warp(sources[None], flat, intrinsics[None], source_T_target[None])
            each = error(seen.images)[0].masked_fill(~seen.valid[0], torch.inf)
            best = each.sort(dim=0).values[:wanted] if len(sources) > 1 else each
            there = best.isfinite()
            mean = torch.where(there, best, 0.0).sum(dim=0) / there.sum(dim=0).clamp(min=1)
            cost[..., plane] = torch.where(there.any(dim=0), mean, UNSEEN).numpy()
    return cost
