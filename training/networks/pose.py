"""The pose network: how the camera moved between two photographs.

It returns `source_T_target` for pairs of images, in the unit of depth. Pairs are shown in the order in
which they were taken, and the result for an earlier source is inverted, so that driving forward looks the
same in both.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from training.geometry import constant, invert_rigid


@dataclass(frozen=True, kw_only=True)
class PoseConfig:
    """The network's size, and how it is taught."""

    channels: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    """After each convolution of stride 2."""
    shrink: int = 2
    """The images are made this much smaller first."""
    rotation_scale: float = 0.01
    """Multiplies what the network says of rotation, in radians; small, so that training starts near rest."""
    translation_scale: float = 0.01
    """Likewise for translation, in the unit of depth; 0.1 suits metres at driving speed."""
    supervision: float = 1.0
    """Weight of the known poses as labels, where the data gives any; 0: the network sees only the others."""
    depth_first_steps: int = 0
    """Until then, views of unknown pose teach the pose network alone, so that depth becomes sane first."""

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 8 or any(count % 8 for count in self.channels):
            raise ValueError(f"pose.channels is {self.channels}; expected multiples of 8")
        if self.shrink < 1:
            raise ValueError(f"pose.shrink is {self.shrink}; expected at least 1")
        if self.supervision < 0 or self.depth_first_steps < 0:
            raise ValueError(
                f"pose.supervision is {self.supervision} and depth_first_steps {self.depth_first_steps}; "
                "expected both at least 0"
            )


class PoseNetwork(nn.Module):
    """A small convolutional network over two images stacked in channels, without batch statistics."""

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 6
        for index, count in enumerate(config.channels):
            kernel = (7, 5)[index] if index < 2 else 3
            layers += [
                nn.Conv2d(before, count, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.GroupNorm(count // 8, count),
                nn.ReLU(inplace=True),
            ]
            before = count
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(before, 6, kernel_size=1)

    def forward(
        self,
        target: Float[Tensor, "pairs 3 height width"],
        source: Float[Tensor, "pairs 3 height width"],
        source_is_earlier: Bool[Tensor, " pairs"],
    ) -> Float[Tensor, "pairs 4 4"]:
        """Return `source_T_target` for RGB images in [0, 1]."""
        swap = source_is_earlier[:, None, None, None]
        pair = torch.cat((torch.where(swap, source, target), torch.where(swap, target, source)), dim=1)
        if self.config.shrink > 1:
            pair = functional.avg_pool2d(pair, self.config.shrink)
        motion = self.head(self.encoder((pair - 0.45) / 0.225)).float().mean(dim=(2, 3))
        later_T_earlier = rigid(
            self.config.rotation_scale * motion[:, :3], self.config.translation_scale * motion[:, 3:]
        )
        return torch.where(swap[..., 0], invert_rigid(later_T_earlier), later_T_earlier)


def rigid(
    axis_angle: Float[Tensor, "batch 3"], translation: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 4 4"]:
    """Return the rotation about an axis by its length in radians, then the translation, as one matrix.

    Rodrigues' formula, R = I + a W + b W^2 with a = sin t / t and b = (1 - cos t) / t^2; smooth at rest.
    """
    angle = torch.sqrt(axis_angle.square().sum(dim=1) + 1e-16)[:, None, None]
    x, y, z = axis_angle.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=1).reshape(-1, 3, 3)
    a = torch.sinc(angle / torch.pi)
    b = 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    rotation = eye + a * cross + b * (cross @ cross)
    last = constant([[0, 0, 0, 1]], eye).expand(len(axis_angle), 1, 4)
    return torch.cat((torch.cat((rotation, translation[:, :, None]), dim=2), last), dim=1)
