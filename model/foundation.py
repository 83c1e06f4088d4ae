"""The frozen vision foundation model: image -> four grids of tokens that carry semantics.

It is never trained: its output is a pure function of the image and its weights, so it may be computed once
per frame and cached.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from model.config import FoundationConfig
from model.normalisation import Normalisation
from model.weights import WeightsError, WeightsSource, create_with_weights, weights_sha256

TokenGrids = tuple[
    Float[Tensor, "batch channels rows columns"],
    Float[Tensor, "batch channels rows columns"],
    Float[Tensor, "batch channels rows columns"],
    Float[Tensor, "batch channels rows columns"],
]
"""One grid per chosen block, from the shallowest to the deepest."""


_SETTING = "--foundation-weights, or in the service by DEPTH_FOUNDATION_WEIGHTS"


class FoundationEncoder(nn.Module):
    """A timm vision transformer that stays frozen: no gradient, in evaluation mode for ever.

    Args:
        config: Which transformer, and which of its blocks.
        weights: ``"hub"``, ``"random"`` or the path of a safetensors file in timm's layout.

    Raises:
        WeightsError: The name is not a vision transformer, or the weights cannot be had.
    """

    vit: Any  # timm's transformers share an interface, not a type

    def __init__(self, config: FoundationConfig, weights: WeightsSource = "hub") -> None:
        super().__init__()
        vit: Any = create_with_weights(
            config.name, weights, setting=_SETTING, num_classes=0, dynamic_img_size=True
        )
        blocks = getattr(vit, "blocks", None)
        if blocks is None or not hasattr(vit, "forward_intermediates"):
            raise WeightsError(f"{config.name!r} is not a vision transformer with intermediate tokens")
        if config.blocks[-1] > len(blocks):
            raise WeightsError(
                f"foundation.blocks is {config.blocks}; {config.name!r} has {len(blocks)} blocks"
            )
        self.config = config
        self.vit = vit
        self.channels: int = vit.num_features
        self.patch: int = vit.patch_embed.patch_size[0]
        self.normalise = Normalisation(vit.pretrained_cfg["mean"], vit.pretrained_cfg["std"])
        self.requires_grad_(False)
        self.eval()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights; computed anew at each call, because weights may be loaded later."""
        return weights_sha256(self.vit)

    def train(self, mode: bool = True) -> "FoundationEncoder":
        """Stay in evaluation mode whatever the network around it does."""
        super().train(False)
        return self

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of the token grids for an image size in pixels.

        The image is resized to the nearest size that the patch divides: 640x192 to 644x196, 46x14 tokens.
        """
        return max(1, round(height / self.patch)), max(1, round(width / self.patch))

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> TokenGrids:
        """Return the token grids of RGB images in [0, 1], without class or register tokens."""
        rows, columns = self.token_grid(image.shape[-2], image.shape[-1])
        resized = functional.interpolate(
            image, (rows * self.patch, columns * self.patch), mode="bilinear", align_corners=False
        )
        grids = self.vit.forward_intermediates(
            self.normalise(resized),
            indices=[block - 1 for block in self.config.blocks],
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return cast(TokenGrids, tuple(grids))

    def fix_size(self, height: int, width: int) -> None:
        """Settle on one image size, so that position embeddings are resampled now and not at run time."""
        rows, columns = self.token_grid(height, width)
        self.vit.set_input_size(img_size=(rows * self.patch, columns * self.patch))
        self.vit.dynamic_img_size = False
        self.vit.patch_embed.flatten = True
