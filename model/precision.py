"""A deployed network in the precision that computes it: its weights are converted once, not in every pass."""

import copy
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.folded import fold_batch_norms
from model.foundation import FoundationEncoder
from model.network import DeployedNet


def computing_in(network: DeployedNet, dtype: torch.dtype) -> DeployedNet:
    """Return a copy with folded batch norms, whose weights have a precision.

    It takes float32 images and returns float32 disparity in every precision. Images are normalised, and
    disparity is made of the decoder's last features, in float32: bfloat16 has 91 values between 8 and 60 m.

    Args:
        network: In float32, on a CPU.
        dtype: float32, bfloat16 or float16.
    """
    copied = copy.deepcopy(network)
    config = copied.config
    fold_batch_norms(copied, torch.zeros(1, 3, config.height, config.width))
    if dtype is torch.float32:
        return copied
    inner = copied.network
    inner.to(dtype)
    inner.decoder.disparity_heads.float()
    inner.geometry.normalise = _then(inner.geometry.normalise, dtype)  # type: ignore[assignment]
    foundation = getattr(inner, "foundation", None)
    if foundation is not None:
        encoder = cast(FoundationEncoder, foundation)
        encoder.normalise = _then(encoder.normalise, dtype)  # type: ignore[assignment]
    return copied


def _then(normalise: nn.Module, dtype: torch.dtype) -> nn.Sequential:
    """Return a normalisation in float32 whose result is converted."""
    return nn.Sequential(normalise.float(), _Converted(dtype))


class _Converted(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        return image.to(self.dtype)
