"""Images in, depth out: the plain eager network that every other backend is held to."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from model.checkpoint import load_checkpoint
from model.images import check_image, disparity_to_depth_map, to_model_batch
from model.metadata import DepthScale
from model.network import DepthNetwork
from model.weights import WeightsSource

RELATIVE = DepthScale()
"""The scale of a network that nothing more is known of."""


class Predictor:
    """A network that returns depth for uint8 images of any size.

    Args:
        network: Copied as it is deployed, so that training may go on with the original.
        scale: What a unit of its depth is worth.
        device: Where it runs; a CUDA device is untested here, where there is none.
        batch_size: How many images go through at once, at most.
        bfloat16: Whether to run under autocast, quicker where the hardware has bfloat16 and less exact.
        height: The size in pixels at which the network sees images; its configuration's where None.
        width: Likewise.
    """

    def __init__(
        self,
        network: DepthNetwork,
        scale: DepthScale = RELATIVE,
        *,
        device: str = "cpu",
        batch_size: int = 8,
        bfloat16: bool = False,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        self.network = network.deployed(height=height, width=width).to(device)
        self.config = self.network.config
        self.scale = scale
        self.batch_size = batch_size
        self._device = torch.device(device)
        self._bfloat16 = bfloat16

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        *,
        foundation_weights: WeightsSource = "hub",
        device: str = "cpu",
        batch_size: int = 8,
        bfloat16: bool = False,
    ) -> "Predictor":
        """Load a checkpoint, with its scale.

        Raises:
            CheckpointError: The checkpoint cannot be used; the message says why.
        """
        network, metadata = load_checkpoint(path, foundation_weights=foundation_weights)
        return cls(network, metadata.scale, device=device, batch_size=batch_size, bfloat16=bfloat16)

    def predict(self, images: Sequence[np.ndarray]) -> list[Float32[np.ndarray, "_ _"]]:
        """Return the depth of RGB images, each map of its image's size and in the scale's unit.

        Raises:
            ValueError: One of them is not a uint8 RGB image; the message says which, and what it is.
        """
        for index, image in enumerate(images):
            try:
                check_image(image)
            except ValueError as error:
                raise ValueError(f"images[{index}]: {error}") from None
        depths = []
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            disparities_bhw = self.disparity(to_model_batch(chunk, self.config.height, self.config.width))
            for image, disparity_hw in zip(chunk, disparities_bhw, strict=True):
                height, width = image.shape[:2]
                depths.append(disparity_to_depth_map(disparity_hw, height, width, self.scale.factor))
        return depths

    def disparity(
        self, batch: Float32[np.ndarray, "batch 3 height width"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity, in 1/unit of the network, of a batch as `to_model_batch` makes it.

        Raises:
            ValueError: The batch is empty, or not of the network's size.
        """
        expected = (3, self.config.height, self.config.width)
        if batch.shape[1:] != expected or len(batch) == 0:
            raise ValueError(f"batch has the shape {batch.shape}; expected (1 or more, {str(expected)[1:]}")
        with torch.inference_mode(), self._autocast():
            disparity = self.network(torch.from_numpy(batch).to(self._device))
        values: np.ndarray = disparity.float().cpu().numpy()
        return values

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._bfloat16 else nullcontext()
