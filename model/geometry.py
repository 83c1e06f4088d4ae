"""The geometric encoder: image -> feature pyramid, through any timm ``features_only`` backbone."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from model.config import STRIDE_MULTIPLE, ModelConfig
from model.normalisation import Normalisation
from model.weights import WeightsError, WeightsSource, create_with_weights

FeaturePyramid = dict[int, Float[Tensor, "batch _channels _height _width"]]
"""Features by stride in pixels: 32, 16, 8, 4, and 2 where the backbone has that level."""


class GeometricEncoder(nn.Module):
    """A backbone whose batch statistics stay as they came.

    Batches of depth training are small and its backbones come pretrained, sometimes with batch norms folded
    into biases; so batch norms are kept in evaluation mode, as affine layers whose weights still learn.

    Args:
        config: Names the backbone and what its weights expect of the image.
        weights: ``"hub"``, ``"random"`` or the path of a safetensors file in timm's layout.

    Raises:
        WeightsError: The backbone is unknown, lacks a stride up to 32, or its weights cannot be had.
    """

    def __init__(self, config: ModelConfig, weights: WeightsSource = "hub") -> None:
        super().__init__()
        options: dict[str, Any] = {"features_only": True}
        if config.backbone_padding is not None:
            options["pad_type"] = config.backbone_padding
        backbone: Any = create_with_weights(config.backbone, weights, setting="--backbone-weights", **options)
        strides = tuple(backbone.feature_info.reduction())
        if missing := sorted({4, 8, 16, STRIDE_MULTIPLE} - set(strides)):
            raise WeightsError(f"backbone {config.backbone!r} has strides {strides}; it lacks {missing}")
        self.strides = strides
        self.channels: dict[int, int] = dict(zip(strides, backbone.feature_info.channels(), strict=True))
        self.backbone = backbone
        self.normalise = Normalisation(config.backbone_mean, config.backbone_std)
        self.train()

    def train(self, mode: bool = True) -> "GeometricEncoder":
        """Switch modes, but leave every batch norm in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> FeaturePyramid:
        """Return the pyramid of RGB images in [0, 1] whose sides are multiples of 32."""
        return dict(zip(self.strides, self.backbone(self.normalise(image)), strict=True))
