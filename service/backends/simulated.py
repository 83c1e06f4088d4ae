"""A backend that computes nothing: it sleeps as long as a device would, to measure and test the scheduler.

Its answer is a function of the image alone, so that a mixed-up answer shows.

The latency curve is that of ResNet-50, a network about as heavy as a student here, as NVIDIA published it
in MLPerf Inference 3.0 (mlcommons/inference_results_v3.0, closed/NVIDIA/results). An H100-PCIe-80GB answers
56,635 images a second in large batches (Offline): 17.7 us each. Batches of 1 and 8 were published only of
its forerunner A100-PCIe-80GB, 0.470 ms (SingleStream) and 0.681 ms (MultiStream), which leaves 0.44 ms for
a batch of any size.
"""

import time
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from model.metadata import CheckpointError, read_metadata
from service.backends.base import BackendError, BackendOptions

_FIXED_S, _PER_IMAGE_S = 0.00044, 0.0000177
"""An H100-class card on a small network, as the module says."""
_MAX_BATCH = 64


class SimulatedBackend:
    """Takes ``fixed + batch * per_image`` seconds for a batch.

    Args:
        checkpoint: Whose size it takes; its weights are not read.
        options: Of which only the largest batch counts.
        fixed_s: For a batch of any size.
        per_image_s: For each image.

    Raises:
        BackendError: The checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: Path,
        options: BackendOptions,
        *,
        fixed_s: float = _FIXED_S,
        per_image_s: float = _PER_IMAGE_S,
    ) -> None:
        try:
            config = read_metadata(checkpoint).config
        except CheckpointError as error:
            raise BackendError(str(error)) from error
        self.height, self.width = config.height, config.width
        self.max_batch = options.max_batch or _MAX_BATCH
        self.lanes = 1
        self.padded = False
        self.precision = "float32"
        self.golden = None
        self.description = f"simulated, {fixed_s * 1e3:g} ms a batch and {per_image_s * 1e6:g} us an image"
        self._fixed_s, self._per_image_s = fixed_s, per_image_s

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Sleep, then return disparity that falls with brightness: (1 + green) / 256."""
        time.sleep(self._fixed_s + self._per_image_s * len(images))
        return (images[..., 1].astype(np.float32) + 1) / 256

    def memory_bytes(self) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""

    def discard(self) -> bool:
        """Return False: nothing is cached."""
        return False
