"""Averages over what is known: each sample's mean over a mask, and the mismatch of two maps' gradients."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_TINY = 1e-12


def masked_mean(
    values: Float[Tensor, "batch 1 height width"], mask: Bool[Tensor, "batch 1 height width"]
) -> Float[Tensor, " batch"]:
    """Return each sample's mean over its mask; 0 where that is empty."""
    kept = values.masked_fill(~mask, 0.0).flatten(1).sum(dim=1)
    return kept / mask.flatten(1).sum(dim=1).clamp(min=1)


def weighted_mean(
    values: Float[Tensor, "batch 1 height width"], weight: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, " batch"]:
    """Return each sample's mean by weights of at least 0; 0 where they all are."""
    kept = (values * weight).masked_fill(weight <= 0, 0.0).flatten(1).sum(dim=1)
    return kept / weight.flatten(1).sum(dim=1).clamp(min=_TINY)


def gradient_mismatch(
    difference: Float[Tensor, "batch 1 height width"],
    known: Bool[Tensor, "batch 1 height width"] | Float[Tensor, "batch 1 height width"],
    scales: int,
) -> Float[Tensor, " batch"]:
    """Return how much the difference of two maps varies between known neighbours, averaged over the scales.

    Multi-scale gradient matching (Li and Snavely, "MegaDepth", CVPR 2018, equation 4): scale s looks at every
    2^s-th pixel.

    Args:
        difference: Of the maps.
        known: Which pixels count, or how much; two neighbours count by the product.
        scales: How many.
    """
    mean = masked_mean if known.dtype == torch.bool else weighted_mean
    loss = difference.new_zeros(difference.shape[0])
    for scale in range(scales):
        step = 2**scale
        at, there = difference[..., ::step, ::step], known[..., ::step, ::step]
        for dim in (-1, -2):
            last = there.shape[dim] - 1
            if last > 0:
                pairs = there.narrow(dim, 0, last) * there.narrow(dim, 1, last)
                loss = loss + mean(at.diff(dim=dim).abs(), pairs)
    return loss / scales
