"""Geometric-Semantic Aggregation Encoding: geometric features attend to semantic tokens.

At strides 32, 16 and 8 each position of the feature pyramid attends over the foundation model's tokens:

    A = softmax((G Wq)(S Wk)^T / sqrt(d) + B) S Wv,   G' = G + g1 * Wo A,   G'' = G' + g2 * FFN(LN G')

The gates g1 and g2 start at zero, so that training starts from the plain depth network. The paper fixes two
steps, encode and fuse by cross-modal aggregation; this form, with the locality bias B, is our own choice.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from model.config import Aggregation
from model.foundation import TokenGrids
from model.geometry import FeaturePyramid

FUSED_STRIDES = (32, 16, 8)
"""Where semantics are fused; at stride 4 full attention would cost more than the rest of the network."""

_LOCALITY = (0.04, 0.1, 0.3, math.inf)
"""Reach of the attention heads, in turn, as a share of the image's height; the first sees about a token."""


class SemanticEncoding(nn.Module):
    """Project each of the four token grids to a common width, normalise, and sum."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.projections = nn.ModuleList(nn.Linear(channels, width) for _ in range(4))

    def forward(self, tokens: TokenGrids) -> Float[Tensor, "batch rows columns width"]:
        """Return the encoded semantics, channels last."""
        encoded = [
            projection(norm(grid.permute(0, 2, 3, 1)))
            for grid, norm, projection in zip(tokens, self.norms, self.projections, strict=True)
        ]
        return torch.stack(encoded).sum(dim=0)


class CrossModalAttention(nn.Module):
    """One level of the aggregation; the identity at initialisation.

    Each head's scores carry a fixed bias that falls with the squared distance between the query's and the
    token's place, with a reach of its own, from about one token to unbounded. Without it, queries
    and tokens would first have to learn where they are.
    """

    locality: Tensor

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.semantics_norm = nn.LayerNorm(width)
        self.geometry_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, channels)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        )
        self.attention_gate = nn.Parameter(torch.zeros(channels))
        self.feed_forward_gate = nn.Parameter(torch.zeros(channels))
        self._grids = (0, 0, 0, 0)
        self.register_buffer("locality", torch.empty(0), persistent=False)

    def fix_size(self, height: int, width: int, rows: int, columns: int) -> None:
        """Compute the bias for one size of the pyramid's level and of the token grid.

        A pass over images of this size then makes nothing anew, and copies nothing to its device.
        """
        with torch.inference_mode(False), torch.no_grad():  # a pass that trains may be the next to use it
            bias = locality_bias(height, width, rows, columns, self.heads)
            # Of four dimensions, or the fused kernels do not take it.
            self.locality = bias[None].to(self.out.weight)
        self._grids = (height, width, rows, columns)

    def forward(
        self,
        geometry: Float[Tensor, "batch channels height width"],
        semantics: Float[Tensor, "batch rows columns semantic_width"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the geometry with the semantics that it asked for."""
        batch, channels, height, width = geometry.shape
        rows, columns = semantics.shape[1:3]
        # 1. Lay both streams out as sequences: height * width queries, rows * columns keys.
        features = geometry.flatten(2).transpose(1, 2)
        tokens = self.semantics_norm(semantics.flatten(1, 2))
        # 2. Ask.
        query = self._split(self.query(self.geometry_norm(features)))
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        if self._grids != (height, width, rows, columns):
            self.fix_size(height, width, rows, columns)
        mixed = functional.scaled_dot_product_attention(
            query, self._split(key), self._split(value), attn_mask=self.locality.to(query)
        )
        # 3. Add, through the gates.
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        features = features + self.attention_gate * attended
        refined: Tensor = self.feed_forward(features)
        features = features + self.feed_forward_gate * refined
        return features.transpose(1, 2).reshape(batch, channels, height, width)

    def _split(
        self, sequence: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch heads length depth"]:
        batch, length, width = sequence.shape
        return sequence.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


class Concatenation(nn.Module):
    """The baseline: resample the semantics to the pyramid's grid, concatenate, mix by a 1x1 convolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.semantics_norm = nn.LayerNorm(width)
        self.mix = nn.Conv2d(channels + width, channels, kernel_size=1)

    def forward(
        self,
        geometry: Float[Tensor, "batch channels height width"],
        semantics: Float[Tensor, "batch rows columns semantic_width"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the mixed features."""
        grid = self.semantics_norm(semantics).permute(0, 3, 1, 2)
        resampled = functional.interpolate(grid, geometry.shape[-2:], mode="bilinear", align_corners=False)
        mixed: Tensor = self.mix(torch.cat((geometry, resampled), dim=1))
        return mixed


class GeometricSemanticAggregation(nn.Module):
    """Encode the semantics once, then fuse them into the pyramid at strides 32, 16 and 8.

    Args:
        geometric_channels: Channels of the pyramid by stride.
        semantic_channels: Channels of the token grids.
        width: Channels of the encoded semantics, of queries, keys and values.
        heads: Attention heads; they divide the width.
        kind: ``"attention"``, or ``"concat"`` for ablation.
    """

    def __init__(
        self,
        *,
        geometric_channels: dict[int, int],
        semantic_channels: int,
        width: int,
        heads: int,
        kind: Aggregation,
    ) -> None:
        super().__init__()
        self.encode = SemanticEncoding(semantic_channels, width)
        self.levels = nn.ModuleDict(
            {
                str(stride): CrossModalAttention(geometric_channels[stride], width, heads)
                if kind == "attention"
                else Concatenation(geometric_channels[stride], width)
                for stride in FUSED_STRIDES
            }
        )

    def fix_size(self, height: int, width: int, token_grid: tuple[int, int]) -> None:
        """Prepare for images of one size, in pixels, whose tokens come in this many rows and columns."""
        for stride, level in self.levels.items():
            if isinstance(level, CrossModalAttention):
                level.fix_size(height // int(stride), width // int(stride), *token_grid)

    def forward(self, pyramid: FeaturePyramid, tokens: TokenGrids) -> FeaturePyramid:
        """Return the pyramid with the coarse levels fused; the fine ones pass through."""
        semantics = self.encode(tokens)
        fused = {int(stride): level(pyramid[int(stride)], semantics) for stride, level in self.levels.items()}
        return pyramid | fused


def locality_bias(
    height: int, width: int, rows: int, columns: int, heads: int
) -> Float[Tensor, "heads queries tokens"]:
    """Return -d^2 / (2 r^2) for every query, token and head: d their distance, r the head's reach.

    Distances are in image heights; the grids are taken to cover the same image, cell centres at +0.5.
    """
    aspect = width / height
    query_y = (torch.arange(height) + 0.5) / height
    query_x = (torch.arange(width) + 0.5) / width * aspect
    token_y = (torch.arange(rows) + 0.5) / rows
    token_x = (torch.arange(columns) + 0.5) / columns * aspect
    across = (query_x[:, None] - token_x[None]).square()
    down = (query_y[:, None] - token_y[None]).square()
    distance = (down[:, None, :, None] + across[None, :, None, :]).reshape(height * width, rows * columns)
    reach = torch.tensor([_LOCALITY[head % len(_LOCALITY)] for head in range(heads)])
    return -distance[None] / (2 * reach.square())[:, None, None]
