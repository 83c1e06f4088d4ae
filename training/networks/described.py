"""A described network of others as a teacher: asked for disparity, and for how sure it is of each pixel.

Its file is run as the service runs it, by ONNX Runtime or OpenVINO. It is asked picture by picture, and what
it said is kept by the content of the image, as far as `asking.memory_gib` goes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from model.decoder import DepthOutput
from model.described import DescribedNetwork, DescriptionError, network_sha256, view_of
from model.described.runtime import NetworkFileError, RunningNetwork, open_network
from model.foundation import TokenGrids
from model.metadata import CheckpointError, DepthScale
from training.losses.depth_imitation import fitted
from training.networks.teacher import Image, TeacherConfig, content_of


@dataclass(frozen=True, kw_only=True)
class TaughtOutput(DepthOutput):
    """What a described network says of a batch."""

    weight: Float[Tensor, "batch 1 height width"]
    """How much each pixel counts, from 0 (it says nothing there) to 1."""
    affine: bool
    """Whether its disparity has a factor and a shift of its own; otherwise it is positive everywhere."""

    def beside(self, student: Float[Tensor, "batch 1 height width"]) -> DepthOutput:
        """Return it in the student's unit, where it has none of its own."""
        if not self.affine:
            return self
        disparity = fitted(self.disparity, student, self.weight)
        return DepthOutput(disparities=(disparity,), features=(), category_logits=None)


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What is known of a described teacher without running it."""

    scale: DepthScale
    """Of its depth of pictures through no known lens."""
    licence: str
    sha256: str


def is_described(path: Path) -> bool:
    """Return whether a teacher's file is a network of others, rather than a checkpoint."""
    return path.suffix in (".onnx", ".xml")


def look_at(path: Path) -> Taught:
    """Read the description of a teacher.

    Raises:
        CheckpointError: It or its description cannot be used.
    """
    try:
        steps = cast(DescribedNetwork, view_of(path))
        sha256 = network_sha256(path, steps.description)
    except DescriptionError as error:
        raise CheckpointError(path, f"has no description that can be used: {error}") from error
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror or error})") from error
    needs_lens = steps.description.focal.rule != "none"  # which nobody tells it here
    scale = DepthScale() if needs_lens else steps.scale
    return Taught(scale=scale, licence=steps.description.licence, sha256=sha256)


class DescribedTeacher:
    """Answers disparity.

    Args:
        path: `NAME.onnx` or `NAME.xml`, with `NAME.depth.json` beside it.
        config: How much is remembered.
        height: Of the images that it will be shown, in pixels.
        width: Likewise.
        device: Where it runs, if its runtime can.

    Raises:
        CheckpointError: It cannot be opened, fails its golden check, or cannot see images of this size.
    """

    def __init__(
        self, path: Path, config: TeacherConfig, height: int, width: int, device: torch.device
    ) -> None:
        try:
            self._running: RunningNetwork = open_network(path, device=str(device))
            self._running.steps.frame(height, width)
        except NetworkFileError as error:
            raise CheckpointError(path, f"cannot teach: {error}") from error
        except ValueError as error:
            raise CheckpointError(
                path, f"cannot teach at model.height {height} and model.width {width}: {error}"
            ) from error
        self.affine = self._running.steps.scale.affine
        unit = "metric" if look_at(path).scale.unit == "metre" else "relative"
        known = "disparity up to a factor and a shift" if self.affine else f"{unit} depth"
        self.description = f"{path.name}, {self._running.graph.runtime}: {known}"
        self.losses = ("imitation",) if self.affine else ("scale", "category", "imitation")
        """Those that can learn from it; it has no features to imitate."""
        self._left = int(config.memory_gib * 2**30)
        self._answers: dict[bytes, Float[Tensor, "2 height width"]] = {}

    @torch.no_grad()
    def __call__(self, image: Image, tokens: TokenGrids | None) -> TaughtOutput:
        """Return what the network says of photographs.

        Args:
            image: As photographed, in no other light.
            tokens: Ignored: they are of our foundation model.

        Raises:
            CheckpointError: The network failed, or gave no depth to any pixel of a photograph.
        """
        both = torch.stack([self._of_one(one) for one in image]).to(image.device)
        disparity, weight = both[:, :1], both[:, 1:]
        return TaughtOutput(
            disparities=(disparity,), features=(), category_logits=None, weight=weight, affine=self.affine
        )

    def _of_one(self, image: Float[Tensor, "3 height width"]) -> Float[Tensor, "2 height width"]:
        key = content_of(image[None])
        if key in self._answers:
            return self._answers[key]
        rgb = (image.detach().float().cpu() * 255).round().clamp(0, 255).byte()
        answer = torch.from_numpy(self._asked(np.ascontiguousarray(rgb.permute(1, 2, 0).numpy())))
        if (size := answer.numel() * answer.element_size()) <= self._left:
            self._left -= size
            self._answers[key] = answer
        return answer

    def _asked(self, rgb: np.ndarray) -> Float32[np.ndarray, "2 height width"]:
        try:
            [seen] = self._running.see([rgb])
        except (NetworkFileError, ValueError) as error:
            raise CheckpointError(self._running.path, f"failed as a teacher: {error}") from error
        known = np.isfinite(seen.disparity)
        if not self.affine:  # where zero is infinitely far, which has no logarithm
            known &= seen.disparity > 0
        if not known.any():
            raise CheckpointError(self._running.path, "gave no depth to any pixel of a training image")
        farthest = np.min(seen.disparity, where=known, initial=np.inf)
        weight = known if seen.confidence is None else known * seen.confidence
        disparity = np.where(known, seen.disparity, farthest)
        return np.stack([disparity, weight]).astype(np.float32)
