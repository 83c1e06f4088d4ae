"""The teacher as distillation asks it: frozen, and for each photograph only once, as far as memory goes.

A frozen network gives the same for the same image, and half of a distillation step is spent on asking it.
So its outputs are kept, in half precision, by the content of the image. Images are asked one by one,
because the last bits of an output depend on what else is in the batch; a remembered output is thus
exactly the one that would be computed.

On a GPU asking costs less than remembering: images are asked together, in bfloat16, and nothing is kept.
"""

import hashlib
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.decoder import DepthOutput
from model.foundation import TokenGrids
from model.network import TeacherNet

Image = Float[Tensor, "batch 3 height width"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """How the teacher is asked."""

    memory_gib: float = 0.0
    """On a CPU, for outputs that are kept; 0: images are asked together, and anew each time, as on a GPU."""

    def __post_init__(self) -> None:
        if self.memory_gib < 0:
            raise ValueError(f"asking.memory_gib is {self.memory_gib}; expected at least 0")


class Teacher:
    """Answers disparity and features.

    Args:
        network: Frozen, on the device of the images.
        config: Whether to remember.
        features: Whether decoder features are wanted; they take most of the memory.
    """

    def __init__(self, network: nn.Module, config: TeacherConfig, *, features: bool) -> None:
        self.network = network
        self._left = int(config.memory_gib * 2**30)
        self._remembers = config.memory_gib > 0
        self._features = features
        self._answers: dict[bytes, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def __call__(self, image: Image, tokens: TokenGrids | None) -> DepthOutput:
        """Return what the teacher sees in photographs.

        Args:
            image: As photographed, in no other light.
            tokens: The foundation model's, where they are known.
        """
        if image.device.type != "cpu":
            with torch.autocast(image.device.type, torch.bfloat16):
                return ask(self.network, image, tokens)
        if not self._remembers:
            return ask(self.network, image, tokens)
        outputs = [self._output(image[i : i + 1], tokens, i) for i in range(len(image))]
        # Widened first: autocast on a CPU cannot join float16.
        parts = [torch.cat([part.float() for part in column]) for column in zip(*outputs, strict=True)]
        return DepthOutput(disparities=(parts[0],), features=tuple(parts[1:]), category_logits=None)

    def _output(self, image: Image, tokens: TokenGrids | None, index: int) -> tuple[Tensor, ...]:
        key = content_of(image)
        if key in self._answers:
            return tuple(part.to(image.device) for part in self._answers[key])
        own = None if tokens is None else tuple(grid[index : index + 1] for grid in tokens)
        output = ask(self.network, image, cast(TokenGrids | None, own))
        parts = (output.disparity, *(output.features if self._features else ()))
        kept = tuple(part.half().contiguous() for part in parts)
        size = sum(part.numel() * part.element_size() for part in kept)
        if size <= self._left:
            self._left -= size
            self._answers[key] = tuple(part.cpu() for part in kept)
        return kept


def ask(network: nn.Module, image: Image, tokens: TokenGrids | None) -> DepthOutput:
    """Return a network's output, with tokens where it uses any."""
    image = image.contiguous(memory_format=torch.channels_last)
    if isinstance(network, TeacherNet) and network.foundation is not None:
        return cast(DepthOutput, network(image, tokens))
    return cast(DepthOutput, network(image))


def content_of(image: Image) -> bytes:
    """Return what no other image has: 1.5 ms at 640x192."""
    return hashlib.blake2b(image.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()
