"""The teacher's and the student's network, built from the parts, and the smaller network that is deployed.

Networks take RGB in [0, 1] at any size whose sides are multiples of 32 and return disparity, 1/depth, in
the network's own unit.
"""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.aggregation import GeometricSemanticAggregation
from model.config import STRIDE_MULTIPLE, ModelConfig
from model.decoder import DepthDecoder, DepthOutput
from model.drawing import drawn_image, golden_answer
from model.foundation import FoundationEncoder, TokenGrids
from model.geometry import GeometricEncoder
from model.golden import GoldenAnswer
from model.weights import WeightsSource

FOUNDATION_PREFIX = "foundation."
"""How the names of the frozen foundation weights begin in a teacher's state; checkpoints leave these out."""


class DepthNetwork(nn.Module):
    """What a teacher and a student share: a geometric encoder, a decoder and a configuration."""

    def __init__(self, config: ModelConfig, geometry: GeometricEncoder, decoder: DepthDecoder) -> None:
        super().__init__()
        self.config = config
        self.geometry = geometry
        self.decoder = decoder

    def deployed(self, *, height: int | None = None, width: int | None = None) -> "DeployedNet":
        """Return a copy in evaluation mode, without train-only heads, fixed to one size.

        Args:
            height: In pixels, a multiple of 32; the configuration's where None.
            width: Likewise.
        """
        config = replace(self.config, height=height or self.config.height, width=width or self.config.width)
        return DeployedNet(self, config)


class StudentNet(DepthNetwork):
    """The lightweight network: encode, decode."""

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> DepthOutput:
        """Return disparities, features and category logits of RGB images in [0, 1]."""
        check_size(image)
        output: DepthOutput = self.decoder(self.geometry(image))
        return output


class TeacherNet(DepthNetwork):
    """The network with semantics: encode both streams, aggregate, decode.

    Without a foundation model and an aggregation it is the plain depth network, for ablation.
    """

    def __init__(
        self,
        config: ModelConfig,
        geometry: GeometricEncoder,
        decoder: DepthDecoder,
        foundation: FoundationEncoder | None,
        aggregation: GeometricSemanticAggregation | None,
    ) -> None:
        super().__init__(config, geometry, decoder)
        self.foundation = foundation
        self.aggregation = aggregation
        if foundation is not None and aggregation is not None:
            grid = foundation.token_grid(config.height, config.width)
            aggregation.fix_size(config.height, config.width, grid)

    def fix_size(self, height: int, width: int) -> None:
        """Settle on one image size: whatever depends on it alone is computed now, and not in every pass."""
        if self.foundation is not None and self.aggregation is not None:
            self.foundation.fix_size(height, width)
            self.aggregation.fix_size(height, width, self.foundation.token_grid(height, width))

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], tokens: TokenGrids | None = None
    ) -> DepthOutput:
        """Return disparities, features and category logits of RGB images in [0, 1].

        Args:
            image: What the geometric encoder sees.
            tokens: What the foundation model gave for these images, where that is known already; their size
                need not be the image's.
        """
        check_size(image)
        # 1. Encode the geometry.
        pyramid = self.geometry(image)
        # 2. Encode the semantics, and let geometry ask for them.
        if self.foundation is not None and self.aggregation is not None:
            pyramid = self.aggregation(pyramid, self.foundation(image) if tokens is None else tokens)
        # 3. Decode.
        output: DepthOutput = self.decoder(pyramid)
        return output


class DeployedNet(nn.Module):
    """A trained network as it is served: image -> disparity at full resolution, and nothing else."""

    def __init__(self, trained: DepthNetwork, config: ModelConfig) -> None:
        super().__init__()
        network = copy.deepcopy(trained)
        network.decoder.drop_training_heads()
        self.config = config
        if isinstance(network, TeacherNet):
            network.fix_size(config.height, config.width)
        self.network = network
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
        """Return disparity, 1/depth in 1/unit, of RGB images in [0, 1]."""
        output: DepthOutput = self.network(image)
        return output.disparity[:, 0]

    def golden_answer(self) -> GoldenAnswer:
        """Return its answer to the drawn image; the golden one, as long as it is on a CPU and in float32.

        Raises:
            GoldenError: NaN, infinity, or zeros alone.
        """
        drawn = torch.from_numpy(drawn_image(self.config.height, self.config.width))
        with torch.inference_mode():
            disparity: Tensor = self(drawn.permute(2, 0, 1)[None].float() / 255)
        return golden_answer(disparity[0].numpy())


def build(
    config: ModelConfig, *, foundation_weights: WeightsSource = "hub", backbone_weights: WeightsSource = "hub"
) -> TeacherNet | StudentNet:
    """Compose the network that a configuration describes.

    Args:
        config: What to build.
        foundation_weights: Where the frozen foundation model's weights come from.
        backbone_weights: Where the geometric encoder's initial weights come from; ``"random"`` where a
            checkpoint will replace them.

    Raises:
        WeightsError: A part is unknown to timm, or its weights cannot be had.
    """
    geometry = GeometricEncoder(config, backbone_weights)
    decoder = DepthDecoder(
        encoder_channels=geometry.channels,
        stage_channels=config.decoder_channels,
        categories=config.categories,
        min_depth=config.min_depth,
        max_depth=config.max_depth,
    )
    if config.role == "student":
        return StudentNet(config, geometry, decoder)
    if config.foundation is None:
        return TeacherNet(config, geometry, decoder, None, None)
    foundation = FoundationEncoder(config.foundation, foundation_weights)
    aggregation = GeometricSemanticAggregation(
        geometric_channels=geometry.channels,
        semantic_channels=foundation.channels,
        width=config.aggregation_width,
        heads=config.aggregation_heads,
        kind=config.aggregation,
    )
    return TeacherNet(config, geometry, decoder, foundation, aggregation)


def check_size(image: Float[Tensor, "batch 3 height width"]) -> None:
    """Refuse an image that the pyramid cannot halve five times.

    Raises:
        ValueError: A side is not a multiple of 32; the message names both.
    """
    height, width = image.shape[-2:]
    if height % STRIDE_MULTIPLE or width % STRIDE_MULTIPLE:
        raise ValueError(f"image is {width}x{height}; expected sides that are multiples of {STRIDE_MULTIPLE}")
