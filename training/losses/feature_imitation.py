"""Feature imitation: the student's decoder features, projected, point the way the teacher's do.

    loss = mean over levels and positions of 1 - cos(W f_S, f_T)

with a learned 1x1 projection W for each level that only training needs (projection: Romero et al.,
"FitNets", ICLR 2015; the paper fixes only the name).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Features = tuple[Float[Tensor, "batch _channels _height _width"], ...]


@dataclass(frozen=True, kw_only=True)
class FeatureImitationConfig:
    """How strongly features are imitated."""

    weight: float = 0.05
    """0: off."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"feature.weight is {self.weight}; expected at least 0")


class FeatureProjections(nn.Module):
    """One 1x1 convolution a level, from the student's channels to the teacher's."""

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Conv2d(here, there, kernel_size=1)
            for here, there in zip(student_channels, teacher_channels, strict=True)
        )

    def forward(self, features: Features) -> Features:
        """Return each level in the teacher's channels, in float32 whatever the student computes in."""
        return tuple(level(feature.float()) for level, feature in zip(self.levels, features, strict=True))


def feature_imitation(projected: Features, teacher: Features) -> Float[Tensor, " batch"]:
    """Return the mean of 1 - cosine between the student's projected features and the teacher's."""
    levels = [
        1 - functional.cosine_similarity(ours.float(), theirs.detach().float(), dim=1).flatten(1).mean(dim=1)
        for ours, theirs in zip(projected, teacher, strict=True)
    ]
    return torch.stack(levels).mean(dim=0)
