"""The torch backend: CUDA, and a plain path on the CPU to hold the others to.

On CUDA: channels last, autocast, uint8 images through pinned staging buffers on a stream of their own,
normalised on the device, one CUDA graph for each batch size. That path is untested where this was written,
for lack of a GPU. It does not know queues or requests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from model.checkpoint import load_checkpoint
from model.metadata import CheckpointError
from model.network import DeployedNet
from service.backends.base import BackendError, BackendOptions

_CUDA_BATCH, _CPU_BATCH = 32, 4
_GRAPH_WARM_UPS = 3
"""Runs before a graph is recorded, in which libraries choose their algorithms."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchBackend:
    """A network in eager torch on a CPU, or recorded as graphs on a CUDA device.

    Args:
        checkpoint: A checkpoint file.
        options: Device, precision, threads and whether to record graphs.

    Raises:
        BackendError: The checkpoint or the device cannot be used; the message says why.
    """

    def __init__(self, checkpoint: Path, options: BackendOptions) -> None:
        self._device = _device(options.device)
        self._dtype = _dtype(options.precision, self._device)
        if options.threads is not None and self._device.type == "cpu":
            torch.set_num_threads(options.threads)
        try:
            network, _ = load_checkpoint(checkpoint, foundation_weights=options.foundation_weights or "hub")
        except CheckpointError as error:
            raise BackendError(str(error)) from error
        deployed = network.deployed()
        self._network = deployed.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._size = (deployed.config.height, deployed.config.width)
        cuda = self._device.type == "cuda"
        self._max_batch = options.max_batch or (_CUDA_BATCH if cuda else _CPU_BATCH)
        self._run: Callable[[np.ndarray], np.ndarray] = self._run_eager
        if cuda:
            graphs = options.compile
            self._run = CudaRunner(
                self._network, self._device, self._dtype, self._size, self._max_batch, graphs=graphs
            )
        self.predict(np.zeros((1, *self._size, 3), np.uint8))

    @property
    def description(self) -> str:
        """What runs the network, and in which precision, in words."""
        precision = str(self._dtype).removeprefix("torch.")
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        return f"torch {torch.__version__} on {name}, {precision}"

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

    @property
    def lanes(self) -> int:
        """How many batches it may be given at once."""
        return 1

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity of RGB images."""
        return self._run(images)

    def _run_eager(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(images)
            return forward(self._network, pixels, self._dtype).numpy()

    def memory_bytes(self) -> int:
        """Return how much of the GPU's memory torch holds; 0 on a CPU."""
        return torch.cuda.memory_reserved(self._device) if self._device.type == "cuda" else 0

    def close(self) -> None:
        """Let the network and its buffers go."""
        del self._run, self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def device_count() -> int:
    """Return how many CUDA devices torch can use."""
    return torch.cuda.device_count()


def forward(network: DeployedNet, pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return float32 disparity (batch, height, width) of uint8 RGB (batch, height, width, 3)."""
    # uint8 channels last is float channels last without a copy of the layout.
    image = pixels.permute(0, 3, 1, 2).float().div_(255)
    with torch.autocast(pixels.device.type, dtype, enabled=dtype is not torch.float32):
        disparity: Tensor = network(image)
    return disparity.float()


@dataclass
class _Graph:
    """A recorded run, and the memory that it reads and writes."""

    graph: "torch.cuda.CUDAGraph"
    pixels: Tensor
    disparity: Tensor


class CudaRunner:
    """Runs batches on a CUDA device; untested here, where there is none.

    A batch is padded to the next power of two, so that a handful of graphs serve every size. Copies to the
    device go through a pinned buffer on a stream of their own; the calling thread waits on an event, with the
    interpreter's lock released.
    """

    def __init__(
        self,
        network: DeployedNet,
        device: torch.device,
        dtype: torch.dtype,
        size: tuple[int, int],
        max_batch: int,
        *,
        graphs: bool,
    ) -> None:
        self._network, self._device, self._dtype = network, device, dtype
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._compute = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._staging = torch.empty((max_batch, *size, 3), dtype=torch.uint8, pin_memory=True)
        self._answers = torch.empty((max_batch, *size), dtype=torch.float32, pin_memory=True)
        self._graphs: dict[int, _Graph] = {}
        sizes = sorted({min(2**power, max_batch) for power in range(max_batch.bit_length() + 1)})
        self._sizes = sizes
        if graphs:
            with torch.cuda.device(device):
                for batch in reversed(sizes):
                    self._graphs[batch] = self._record(batch)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the disparity of at most `max_batch` images."""
        count = len(images)
        self._staging[:count].copy_(torch.from_numpy(images))
        padded = next(size for size in self._sizes if size >= count)
        with torch.cuda.device(self._device), torch.inference_mode():
            graph = self._graphs.get(padded)
            with torch.cuda.stream(self._copies):
                if graph is None:
                    pixels = self._staging[:count].to(self._device, non_blocking=True)
                else:
                    pixels = graph.pixels
                    pixels[:count].copy_(self._staging[:count], non_blocking=True)
            self._compute.wait_stream(self._copies)
            with torch.cuda.stream(self._compute):
                pixels.record_stream(self._compute)
                if graph is None:
                    disparity = forward(self._network, pixels, self._dtype)
                else:
                    graph.graph.replay()
                    disparity = graph.disparity
                self._answers[:count].copy_(disparity[:count], non_blocking=True)
                done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                done.record(self._compute)
            done.synchronize()
        return self._answers[:count].numpy().copy()

    def _record(self, batch: int) -> _Graph:
        shape = (batch, *self._staging.shape[1:])
        pixels = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        self._compute.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._compute), torch.inference_mode():
            for _ in range(_GRAPH_WARM_UPS):
                forward(self._network, pixels, self._dtype)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, stream=self._compute):
            disparity = forward(self._network, pixels, self._dtype)
        return _Graph(graph, pixels, disparity)


def _device(name: str) -> torch.device:
    try:
        device = torch.device("cuda:0" if name == "cuda" else name)
    except RuntimeError as error:
        raise BackendError(f"device is {name!r}; expected cpu, cuda or cuda:NUMBER") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"device is {name!r}; torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
