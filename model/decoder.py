"""The decoder: feature pyramid -> disparity at four scales, features to imitate, distance-category logits."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from model.disparity import depth_to_disparity, disparity_to_sigmoid, sigmoid_to_disparity
from model.geometry import FeaturePyramid

STAGE_STRIDES = (16, 8, 4, 2, 1)
"""The stride in pixels that each decoder stage ends at."""
DISPARITY_STRIDES = (1, 2, 4, 8)
"""Where disparity is predicted: scale s has stride 2^s."""
_INITIAL_DEPTH = 12.0
"""Depth everywhere before training, in the network's unit: the middle of a street, on a logarithmic scale."""


@dataclass(frozen=True, kw_only=True)
class DepthOutput:
    """What a network returns in training."""

    disparities: tuple[Float[Tensor, "batch 1 _height _width"], ...]
    """1/depth in 1/unit, at strides 1, 2, 4 and 8; only the first where the network is deployed."""
    features: tuple[Float[Tensor, "batch _channels _height _width"], ...]
    """Decoder features at strides 16, 8 and 4, for imitation."""
    category_logits: Float[Tensor, "batch categories _height _width"] | None
    """Scores of the distance categories at stride 4; None without the train-only head."""

    @property
    def disparity(self) -> Float[Tensor, "batch 1 height width"]:
        """Disparity at full resolution."""
        return self.disparities[0]


class DecoderStage(nn.Module):
    """Halve the stride: convolve, upsample, join the skip connection, convolve."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = convolution(in_channels, out_channels)
        self.after = convolution(out_channels + skip_channels, out_channels)

    def forward(
        self,
        features: Float[Tensor, "batch _in_channels height width"],
        skip: Float[Tensor, "batch _skip_channels 2*height 2*width"] | None,
    ) -> Float[Tensor, "batch _out_channels 2*height 2*width"]:
        """Return the features at half the stride."""
        up = functional.interpolate(functional.elu(self.before(features)), scale_factor=2.0, mode="nearest")
        joined = up if skip is None else torch.cat((up, skip), dim=1)
        return functional.elu(self.after(joined))


class DepthDecoder(nn.Module):
    """From the coarsest level to full resolution, with skip connections.

    Args:
        encoder_channels: Channels of the pyramid by stride; stride 2 may be missing.
        stage_channels: Channels after each stage, at strides 16, 8, 4, 2 and 1.
        categories: Distance categories of the train-only head; 0 for none.
        min_depth: The nearest depth that can be predicted, in the network's unit.
        max_depth: The farthest.
    """

    def __init__(
        self,
        *,
        encoder_channels: dict[int, int],
        stage_channels: tuple[int, int, int, int, int],
        categories: int,
        min_depth: float,
        max_depth: float,
    ) -> None:
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        into = (encoder_channels[32], *stage_channels)
        self.stages = nn.ModuleList(
            DecoderStage(into[index], encoder_channels.get(stride, 0), stage_channels[index])
            for index, stride in enumerate(STAGE_STRIDES)
        )
        channels = dict(zip(STAGE_STRIDES, stage_channels, strict=True))
        self.disparity_heads = nn.ModuleDict(
            {str(stride): self._disparity_head(channels[stride]) for stride in DISPARITY_STRIDES}
        )
        self.category_head = nn.Conv2d(channels[4], categories, kernel_size=1) if categories else None

    def _disparity_head(self, channels: int) -> nn.Conv2d:
        """A head that starts at one depth everywhere: its gradients are then sane from the first step."""
        head = nn.Conv2d(channels, 1, kernel_size=3, padding=1)
        share = disparity_to_sigmoid(depth_to_disparity(_INITIAL_DEPTH), self.min_depth, self.max_depth)
        share = min(max(share, 1e-3), 1 - 1e-3)
        nn.init.normal_(head.weight, std=1e-3)
        _fill_bias(head, math.log(share / (1 - share)))
        return head

    def forward(self, pyramid: FeaturePyramid) -> DepthOutput:
        """Decode the pyramid; strides that have no head of disparity or no use in imitation stay inside."""
        features = pyramid[32]
        decoded: dict[int, Tensor] = {}
        for stage, stride in zip(self.stages, STAGE_STRIDES, strict=True):
            features = stage(features, pyramid.get(stride))
            decoded[stride] = features
        return DepthOutput(
            disparities=tuple(
                self._disparity(head, decoded[int(stride)]) for stride, head in self.disparity_heads.items()
            ),
            features=(decoded[16], decoded[8], decoded[4]),
            category_logits=None if self.category_head is None else self.category_head(decoded[4]),
        )

    def _disparity(
        self, head: nn.Module, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        # bfloat16 has 91 values between 8 and 60 m, so the head works in its weights' own precision.
        with torch.autocast(features.device.type, enabled=False):
            share = torch.sigmoid(head(features.to(next(head.parameters()).dtype)).float())
        return sigmoid_to_disparity(share, self.min_depth, self.max_depth)

    def drop_training_heads(self) -> None:
        """Keep only what a deployed network computes: disparity at full resolution."""
        self.disparity_heads = nn.ModuleDict({"1": self.disparity_heads["1"]})
        self.category_head = None


def convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size and, initialised after He, the variance."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    _fill_bias(layer, 0.0)
    return layer


def _fill_bias(layer: nn.Conv2d, value: float) -> None:
    if layer.bias is not None:
        nn.init.constant_(layer.bias, value)
