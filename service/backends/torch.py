"""The torch backend: CUDA, and a plain path on the CPU to hold the others to.

On both, batch norms are folded and weights are held in the precision that computes.
"""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from model.checkpoint import load_checkpoint
from model.golden import GoldenError
from model.metadata import CheckpointError
from model.precision import computing_in
from service.backends.base import BackendError, BackendOptions, DeviceLost
from service.backends.cuda import CudaDevice, CudaRunner, Device, forward, set_arithmetic

_CUDA_BATCH, _CPU_BATCH = 32, 4
_CUDA_LANES = 2
"""One copies while the other computes."""

_DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class TorchBackend:
    """A network in eager torch on a CPU, or in lanes of recorded graphs on a CUDA device.

    Args:
        checkpoint: A checkpoint file.
        options: Device, precision, threads and whether to record graphs.
        cuda: The CUDA device; tests have one of their own. None: what the options name.

    Raises:
        BackendError: The checkpoint or the device cannot be used; the message says why.
    """

    def __init__(self, checkpoint: Path, options: BackendOptions, cuda: Device | None = None) -> None:
        device = _device(options.device)
        if cuda is None and device.type == "cuda":
            cuda = CudaDevice(device)
        self._cuda = cuda
        self._precision = _precision(options.precision, device)
        if options.threads is not None and device.type == "cpu":
            torch.set_num_threads(options.threads)
        try:
            network, metadata = load_checkpoint(
                checkpoint, foundation_weights=options.foundation_weights or "hub"
            )
            deployed = network.deployed()
            # Files of format version 1 store no golden answer: the plain network gives it now.
            self.golden = metadata.golden or deployed.golden_answer()
        except (CheckpointError, GoldenError) as error:
            raise BackendError(str(error)) from error
        self._network = computing_in(deployed, _DTYPES[self._precision])
        self._size = (deployed.config.height, deployed.config.width)
        self._max_batch = options.max_batch or (_CPU_BATCH if cuda is None else _CUDA_BATCH)
        self.padded = cuda is not None and options.cuda_graphs
        self.lanes = 1 if cuda is None else _CUDA_LANES
        self._run: Callable[[np.ndarray], np.ndarray] = self._run_eager
        if cuda is not None:
            self._run = self._runner = self._open(cuda)

    def _open(self, cuda: Device) -> CudaRunner:
        with cuda.current():
            set_arithmetic(self._precision)
            self._network.to(cuda.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return CudaRunner(
                self._network, cuda, self._size, self._max_batch, graphs=self.padded, lanes=self.lanes
            )

    @property
    def description(self) -> str:
        """What runs the network, and in which precision, in words."""
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        return f"torch {torch.__version__} on {name}, {self.precision}"

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self._cuda is None else self._cuda.torch_device

    @property
    def precision(self) -> str:
        """In which it computes."""
        return self._precision

    @property
    def height(self) -> int:
        """Of the images that it takes, in pixels."""
        return self._size[0]

    @property
    def width(self) -> int:
        """Likewise."""
        return self._size[1]

    @property
    def max_batch(self) -> int:
        """The largest batch that it is worth giving."""
        return self._max_batch

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity of RGB images.

        Raises:
            DeviceLost: The CUDA context is gone, as after an illegal access.
        """
        try:
            return self._run(images)
        except RuntimeError as error:
            if self._cuda is not None and not self._works(self._cuda):
                raise DeviceLost(f"{self._device}: {error}") from error
            raise

    @staticmethod
    def _works(cuda: Device) -> bool:
        with cuda.current():
            return cuda.works()

    def _run_eager(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return forward(self._network, torch.from_numpy(images)).numpy()

    def memory_bytes(self) -> int:
        """Return how much of the GPU's memory torch holds; 0 on a CPU."""
        return 0 if self._cuda is None else self._cuda.memory_bytes()

    def close(self) -> None:
        """Let the network and its buffers go, once no batch is under way."""
        with nullcontext() if self._cuda is None else self._cuda.current():
            if self._cuda is not None:
                self._runner.close()
                del self._runner
            del self._run, self._network
            if self._cuda is not None:
                with self._cuda.lock, suppress(RuntimeError):  # of a context that is lost nothing is left
                    self._cuda.give_back()

    def discard(self) -> bool:
        """Return False: nothing is cached."""
        return False


def device_count() -> int:
    """Return how many CUDA devices torch can use."""
    return torch.cuda.device_count()


def _device(name: str) -> torch.device:
    try:
        device = torch.device("cuda:0" if name == "cuda" else name)
    except RuntimeError as error:
        raise BackendError(f"device is {name!r}; expected cpu, cuda or cuda:NUMBER") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"device is {name!r}; torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return "float32"
    return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
