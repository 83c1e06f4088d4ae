"""The decoder as exports compute it: the same function of the same weights, in fewer multiplications.

Doubling an image and convolving it reads every pixel four times over: nine taps meet four different pixels.
Here each pixel is read once. It pays where convolutions are compiled (OpenVINO), not in torch, and it is
tested to be the decoder that was trained.
"""

import copy
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from model.decoder import STAGE_STRIDES, DecoderStage, DepthDecoder, DepthOutput
from model.disparity import sigmoid_to_disparity
from model.geometry import FeaturePyramid
from model.network import DeployedNet

_BLOCK = 4
"""The head returns blocks of 4x4 pixels: a convolution to one channel leaves processors idle."""

# Row 2i + phase of a doubled image, seen through three taps, is two rows of the image: i - 1 and i in phase
# 0, i and i + 1 in phase 1. Entry (tap of two, tap of three) says which of the three meet which of the two.
_PHASES = ([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def lean(network: DeployedNet) -> DeployedNet:
    """Return a copy of a deployed network whose decoder is a :class:`LeanDecoder`."""
    copied = copy.deepcopy(network)
    copied.network.decoder = LeanDecoder(copied.network.decoder)  # type: ignore[assignment]
    copied.requires_grad_(False)
    return copied.eval()


class LeanDecoder(nn.Module):
    """Returns a deployed decoder's disparity, and no features.

    Args:
        decoder: Without train-only heads.
    """

    def __init__(self, decoder: DepthDecoder) -> None:
        super().__init__()
        *stages, last = cast(list[DecoderStage], list(decoder.stages))
        self.stages = nn.ModuleDict(
            {str(stride): LeanStage(stage) for stride, stage in zip(STAGE_STRIDES[:-1], stages, strict=True)}
        )
        self.last = LeanLastStage(last, decoder.disparity_heads["1"])
        self.min_depth, self.max_depth = decoder.min_depth, decoder.max_depth

    def forward(self, pyramid: FeaturePyramid) -> DepthOutput:
        """Decode the pyramid to disparity at full resolution."""
        features = pyramid[32]
        for stride, stage in self.stages.items():
            features = stage(features, pyramid.get(int(stride)))
        sigmoid = torch.sigmoid(self.last(features).float())
        disparity = sigmoid_to_disparity(sigmoid, self.min_depth, self.max_depth)
        return DepthOutput(disparities=(disparity,), features=(), category_logits=None)


class LeanStage(nn.Module):
    """A stage that convolves the four phases of the doubled image apart, and puts them in their places.

    The skip connection, which is not doubled, has a convolution of its own; the sum of both is what one
    convolution makes of both side by side. A transposed convolution would be the same in one operation, but
    OpenVINO's output then depends on how many threads share an image, and so on who else is in the batch.
    """

    def __init__(self, stage: DecoderStage) -> None:
        super().__init__()
        weight, bias = _parameters(stage.after)
        doubled = stage.before.out_channels
        out_channels, in_channels = weight.shape[:2]
        self.before = stage.before
        self.phases = _phases(weight[:, :doubled], bias)
        self.skip: nn.Conv2d | None = None
        if in_channels > doubled:
            self.skip = nn.Conv2d(in_channels - doubled, out_channels, kernel_size=3, padding=1, bias=False)
            self.skip.weight.data = weight[:, doubled:].clone()

    def forward(
        self,
        features: Float[Tensor, "batch _in_channels height width"],
        skip: Float[Tensor, "batch _skip_channels 2*height 2*width"] | None,
    ) -> Float[Tensor, "batch _out_channels 2*height 2*width"]:
        """Return the features at half the stride."""
        features = functional.elu(self.before(features))
        apart = [phase(_beside(features, number)) for number, phase in enumerate(self.phases)]
        after = _in_place(apart)
        if self.skip is not None:
            after = after + self.skip(skip)
        return functional.elu(after)


class LeanLastStage(nn.Module):
    """The last stage and the head of disparity, with every second row and column of the image apart.

    There is no skip connection at full resolution. So the four phases of the doubled image (even or odd
    rows, even or odd columns) each are a convolution of two taps by two, and none is ever put in its place:
    the head reads them where they are, and returns a block of pixels at once.
    """

    def __init__(self, stage: DecoderStage, head: nn.Module) -> None:
        super().__init__()
        weight, bias = _parameters(stage.after)
        head_weight, head_bias = _parameters(head)
        if weight.shape[1] != stage.before.out_channels:
            raise ValueError(f"the last stage has {weight.shape[1]} channels to convolve; expected no skip")
        self.before = stage.before
        blocks = _block_kernel(head_weight)
        self.phases, self.heads = _phases(weight, bias), nn.ModuleList()
        for number in range(4):
            row, column = divmod(number, 2)
            # The head's window begins one row above the block, in phase 1; phase 0 begins with the next.
            own = blocks[:, :, 1 - row :: 2, 1 - column :: 2].contiguous()
            self.heads.append(
                _convolution(own, head_bias.repeat(_BLOCK**2) * (number == 0), stride=_BLOCK // 2)
            )

    def forward(
        self, features: Float[Tensor, "batch _channels height width"]
    ) -> Float[Tensor, "batch 1 2*height 2*width"]:
        """Return the head's output at half the stride."""
        features = functional.elu(self.before(features))
        blocks: Tensor | None = None
        for number, (phase, head) in enumerate(zip(self.phases, self.heads, strict=True)):
            row, column = divmod(number, 2)
            decoded = functional.elu(phase(_beside(features, number)))
            part = head(functional.pad(decoded, (column, 1 - column, row, 1 - row)))
            blocks = part if blocks is None else blocks + part
        assert blocks is not None  # there are four phases
        return functional.pixel_shuffle(blocks, _BLOCK)


def _phases(
    weight: Float[Tensor, "out_channels in_channels 3 3"], bias: Float[Tensor, " out_channels"]
) -> nn.ModuleList:
    """Return a convolution of two taps by two for each phase: even or odd rows, even or odd columns."""
    phases = nn.ModuleList()
    for number in range(4):
        taps = [weight.new_tensor(_PHASES[place]) for place in divmod(number, 2)]
        phases.append(_convolution(torch.einsum("td,se,oide->oits", *taps, weight).contiguous(), bias))
    return phases


def _in_place(
    phases: list[Float[Tensor, "batch channels height width"]],
) -> Float[Tensor, "batch channels 2*height 2*width"]:
    """Put the four phases of an image in their places.

    `pixel_shuffle` would want the phases of each channel side by side. Side by side as they are, OpenVINO
    sees its own DepthToSpace in this, which copies pixels and not single values.
    """
    channels, height, width = phases[0].shape[1:]
    apart = torch.cat(phases, dim=1).reshape(-1, 2, 2, channels, height, width)
    return apart.permute(0, 3, 4, 1, 5, 2).reshape(-1, channels, 2 * height, 2 * width)


def _beside(
    features: Float[Tensor, "batch channels height width"], number: int
) -> Float[Tensor, "batch channels height+1 width+1"]:
    """Return the features with the row and the column that a phase reaches over the edge."""
    row, column = divmod(number, 2)
    return functional.pad(features, (1 - column, column, 1 - row, row))


def _block_kernel(
    weight: Float[Tensor, "1 channels 3 3"],
) -> Float[Tensor, "pixels channels 6 6"]:
    """Return the kernel that gives the pixels of a block as channels, from the block and a pixel around."""
    kernel = weight.new_zeros(_BLOCK**2, weight.shape[1], _BLOCK + 2, _BLOCK + 2)
    for pixel in range(_BLOCK**2):
        row, column = divmod(pixel, _BLOCK)
        kernel[pixel, :, row : row + 3, column : column + 3] = weight[0]
    return kernel


def _convolution(
    weight: Float[Tensor, "out_channels in_channels rows columns"],
    bias: Float[Tensor, " out_channels"],
    stride: int = 1,
) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]), stride=stride)
    layer.weight.data, layer.bias.data = weight, bias.clone()  # type: ignore[union-attr]
    return layer


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    if not isinstance(layer, nn.Conv2d) or layer.bias is None or layer.kernel_size != (3, 3):
        raise ValueError(f"{layer} is no 3x3 convolution with a bias")
    return layer.weight.data, layer.bias.data
