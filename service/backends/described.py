"""The backend of described networks: ONNX Runtime or OpenVINO, as each network's description has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from model.described.runtime import NetworkFileError, open_network
from service.backends.base import BackendError, BackendOptions

_MAX_BATCH = 4
"""On a few cores a batch takes nearly as long as its pictures one by one: more only makes others wait."""


class DescribedBackend:
    """A network of others on a CPU, or on a CUDA device where ONNX Runtime has a provider for it.

    Nothing is opened that fails the golden check of its description, on the runtime that will serve.

    Args:
        network: `NAME.onnx` or `NAME.xml`, with `NAME.depth.json` beside it.
        options: Device, threads and precision.

    Raises:
        BackendError: It cannot be opened, is not as described, or fails the golden check.
    """

    golden = None
    """Of checkpoints; a described network's is checked as it is opened."""
    lanes = 1
    padded = False

    def __init__(self, network: Path, options: BackendOptions) -> None:
        precision: Literal["float32", "bfloat16"] = (
            "bfloat16" if options.precision == "bfloat16" else "float32"
        )
        try:
            self._running = open_network(
                network, threads=options.threads, device=options.device, precision=precision
            )
        except NetworkFileError as error:
            raise BackendError(str(error)) from error
        graph = self._running.graph
        self.precision: str = graph.precision
        self.description = f"{graph.runtime}, {graph.precision}"
        self.height, self.width = self._running.steps.usual_size
        self.max_batch = options.max_batch or min(self._running.max_batch or _MAX_BATCH, _MAX_BATCH)

    def predict(self, images: np.ndarray) -> Sequence[Mapping[str, np.ndarray]]:
        """Return the outputs of each picture, by tensor."""
        return self._running.run(images)

    def memory_bytes(self) -> int:
        """Return 0: nobody asks ONNX Runtime's devices."""
        return 0

    def close(self) -> None:
        """Let the network go."""
        del self._running

    def discard(self) -> bool:
        """Return False: nothing is cached."""
        return False
