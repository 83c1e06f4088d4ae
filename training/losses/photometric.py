"""How unlike two images are at each pixel: structure and colour.

    error = a (1 - SSIM) / 2 + (1 - a) |x - y|, averaged over the channels

with a = 0.85 and SSIM over 3x3 boxes, reflected at the border (Godard et al., "Unsupervised Monocular Depth
Estimation with Left-Right Consistency", CVPR 2017, equation 2; SSIM: Wang et al., IEEE TIP 2004).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True, kw_only=True)
class PhotometricConfig:
    """How structure and colour are weighed."""

    structure_share: float = 0.85
    """Of SSIM in the error; the rest is absolute difference."""

    def __post_init__(self) -> None:
        if not 0 <= self.structure_share <= 1:
            raise ValueError(f"structure_share is {self.structure_share}; expected 0 to 1")


class PhotometricError:
    """Compares any number of candidate images with one target, whose statistics are computed once.

    Args:
        target: What the candidates should look like.
        config: How structure and colour are weighed.
    """

    def __init__(
        self, target: Float[Tensor, "batch channels height width"], config: PhotometricConfig
    ) -> None:
        self._config = config
        self._target = target[:, None]
        self._mean = box_mean(self._target)
        self._mean_square = self._mean.square()
        self._variance = box_mean(self._target.square()) - self._mean_square

    def __call__(
        self, candidates: Float[Tensor, "batch views channels height width"]
    ) -> Float[Tensor, "batch views height width"]:
        """Return each candidate's error at each pixel, 0 (equal) to 1."""
        share = self._config.structure_share
        colour = (candidates - self._target).abs()
        if share == 0:
            return colour.mean(dim=2)
        return torch.lerp(colour, self._dissimilarity(candidates), share).mean(dim=2)

    def _dissimilarity(
        self, candidates: Float[Tensor, "batch views channels height width"]
    ) -> Float[Tensor, "batch views channels height width"]:
        mean = box_mean(candidates)
        cross_mean = mean * self._mean
        mean_square = mean.square()
        variance = box_mean(candidates.square()) - mean_square
        covariance = box_mean(candidates * self._target) - cross_mean
        likeness = (2 * cross_mean + _C1) * (2 * covariance + _C2)
        norm = (mean_square + self._mean_square + _C1) * (variance + self._variance + _C2)
        return (0.5 - 0.5 * likeness / norm).clamp(0, 1)


def box_mean(images: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """Return the mean over each pixel's 3x3 neighbourhood, reflected at the border.

    On a CPU by sums of three rows and then of three columns: a fraction of the time of pooling. On a GPU
    each of these eight passes over memory would cost as much as pooling.
    """
    if images.device.type != "cpu":
        return pooled_mean(images)
    mean: Float[Tensor, "*batch height width"] = _BoxMean.apply(images)
    return mean


def pooled_mean(images: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """Return what `box_mean` returns, by one operation over an image with reflected borders."""
    flat = images.reshape(-1, 1, *images.shape[-2:])
    padded = functional.pad(flat, (1, 1, 1, 1), mode="reflect")
    return functional.avg_pool2d(padded, 3, stride=1).reshape(images.shape)


class _BoxMean(torch.autograd.Function):
    """With its own backward pass, because that of slices writes a whole image of zeros for each."""

    @staticmethod
    def forward(_context: Any, images: Tensor) -> Tensor:
        rows = _three(images, -2)
        # Reflection: the first row sees the second twice.
        rows[..., 0, :] += images[..., 1, :]
        rows[..., -1, :] += images[..., -2, :]
        columns = _three(rows, -1)
        columns[..., 0] += rows[..., 1]
        columns[..., -1] += rows[..., -2]
        return columns.div_(9)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        columns = _three(gradient, -1)
        columns[..., 1] += gradient[..., 0]
        columns[..., -2] += gradient[..., -1]
        rows = _three(columns, -2)
        rows[..., 1, :] += columns[..., 0, :]
        rows[..., -2, :] += columns[..., -1, :]
        return rows.div_(9)


def _three(images: Tensor, dim: int) -> Tensor:
    """Return each element plus its neighbours along a dimension, nothing being beyond the ends."""
    last = images.shape[dim] - 1
    total = images.clone()
    total.narrow(dim, 1, last).add_(images.narrow(dim, 0, last))
    total.narrow(dim, 0, last).add_(images.narrow(dim, 1, last))
    return total
