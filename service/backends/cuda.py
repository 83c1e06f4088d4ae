"""Batches on a CUDA device: lanes with buffers and streams of their own, and a graph for each batch size.

Not yet run on a GPU. What it asks of one is behind the protocol :class:`Device`, so that order, buffers and
locks are tested with a device that computes on the CPU.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from model.network import DeployedNet

_GRAPH_WARM_UPS = 3
"""Runs before a graph is recorded, in which libraries choose their algorithms."""

_locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
"""One for each device: while a graph is recorded, nothing else may record there, or give memory back."""


class Device(Protocol):
    """What lanes ask of a CUDA device. Everything but `current` is called while the device is current."""

    torch_device: torch.device
    """Where tensors are."""
    lock: threading.Lock
    """Held while a graph is recorded, and while memory is given back to the driver."""

    def current(self) -> AbstractContextManager[object]:
        """Make it the thread's device: whatever names none, pinned memory included, goes to the first."""
        ...

    def stream(self) -> Any:
        """Return a new stream, behind what was asked of the device so far."""
        ...

    def on(self, stream: Any) -> AbstractContextManager[object]:
        """Queue what follows on a stream."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return page-locked memory of the host, from which copies overlap."""
        ...

    def pool(self) -> Any:
        """Return a pool of memory for graphs that never run at the same time."""
        ...

    def record(self, work: Callable[[], Tensor], pool: Any) -> Callable[[], Tensor]:
        """Return a graph of what is queued on the current stream by some work."""
        ...

    def wait(self) -> None:
        """Sleep until the current stream is done, with the interpreter's lock released."""
        ...

    def works(self) -> bool:
        """Return whether the smallest computation works: after an error that sticks, none does."""
        ...

    def memory_bytes(self) -> int:
        """Return how much memory torch holds."""
        ...

    def give_back(self) -> None:
        """Give memory that nothing uses back to the driver; the caller holds the lock."""
        ...


class CudaDevice:
    """One CUDA device of this process."""

    def __init__(self, device: torch.device) -> None:
        self.torch_device = device
        self.lock = _locks[device.index or 0]

    def current(self) -> AbstractContextManager[object]:
        """Make it the thread's device."""
        return torch.cuda.device(self.torch_device)

    def stream(self) -> torch.cuda.Stream:
        """Return a new stream, behind what the current one was asked so far."""
        stream = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.torch_device))
        return stream

    def on(self, stream: torch.cuda.Stream) -> AbstractContextManager[object]:
        """Queue what follows on a stream."""
        return torch.cuda.stream(stream)

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return page-locked memory of the host."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def pool(self) -> Any:
        """Return a pool of memory for graphs that never run at the same time."""
        return torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Tensor], pool: Any) -> Callable[[], Tensor]:
        """Record a graph, while other threads serve on the device.

        `torch.cuda.graph` is not used: it waits for the whole device and empties the cache first. In its
        default mode, any allocation or wait of another thread would spoil the recording, and fail there too.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            result = work()
        finally:
            graph.capture_end()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def wait(self) -> None:
        """Sleep until the current stream is done."""
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        done.synchronize()

    def works(self) -> bool:
        """Return whether the smallest computation works."""
        try:
            return bool(torch.ones(1, device=self.torch_device).item() == 1.0)
        except RuntimeError:
            return False

    def memory_bytes(self) -> int:
        """Return how much memory torch holds."""
        return torch.cuda.memory_reserved(self.torch_device)

    def give_back(self) -> None:
        """Give memory that nothing uses back to the driver."""
        torch.cuda.empty_cache()


class CudaRunner:
    """Runs as many batches at once as there are lanes: copies of one overlap with the network of another.

    With graphs, a batch is padded to the next size that was recorded, so that a handful serves every size.

    Args:
        network: On the device.
        device: Current in the calling thread.
        size: Height and width of images, in pixels.
        max_batch: The largest batch.
        graphs: Whether to record.
        lanes: How many batches may be given at once.
    """

    def __init__(
        self,
        network: DeployedNet,
        device: Device,
        size: tuple[int, int],
        max_batch: int,
        *,
        graphs: bool,
        lanes: int,
    ) -> None:
        self._device = device
        sizes = sorted({min(2**power, max_batch) for power in range(max_batch.bit_length() + 1)})
        self._idle: SimpleQueue[_Lane] = SimpleQueue()
        self._lanes = lanes
        with torch.inference_mode():
            for _ in range(lanes):
                self._idle.put(_Lane(network, device, size, sizes, graphs=graphs))

    def __call__(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity of at most `max_batch` images, by the lane that was idle longest."""
        lane = self._idle.get()
        try:
            with self._device.current(), torch.inference_mode():
                return lane.run(images)
        finally:
            self._idle.put(lane)

    def close(self) -> None:
        """Let buffers and graphs go, once no batch is under way."""
        for _ in range(self._lanes):
            self._idle.get()


class _Lane:
    """A stream, its buffers, and its graphs; one batch at a time."""

    def __init__(
        self, network: DeployedNet, device: Device, size: tuple[int, int], sizes: list[int], *, graphs: bool
    ) -> None:
        self._network, self._device, self._sizes = network, device, sizes
        self._stream = device.stream()
        self._staging = device.pinned((sizes[-1], *size, 3), torch.uint8)
        self._answers = device.pinned((sizes[-1], *size), torch.float32)
        self._graphs: dict[int, Callable[[], Tensor]] = {}
        with device.on(self._stream):
            self._pixels = torch.zeros(self._staging.shape, dtype=torch.uint8, device=device.torch_device)
            if graphs:
                # Graphs of one lane never run at once, so they share memory; the largest makes room for all.
                pool = device.pool()
                for count in reversed(sizes):
                    self._graphs[count] = self._record(count, pool)

    def run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        self._staging[:count].copy_(torch.from_numpy(images))
        with self._device.on(self._stream):
            self._pixels[:count].copy_(self._staging[:count], non_blocking=True)
            if self._graphs:
                disparity = self._graphs[next(size for size in self._sizes if size >= count)]()
            else:
                disparity = forward(self._network, self._pixels[:count])
            self._answers[:count].copy_(disparity[:count], non_blocking=True)
            self._device.wait()
        answers: np.ndarray = self._answers[:count].numpy().copy()
        return answers

    def _record(self, count: int, pool: Any) -> Callable[[], Tensor]:
        pixels = self._pixels[:count]
        with self._device.lock:
            for _ in range(_GRAPH_WARM_UPS):
                forward(self._network, pixels)
            self._device.wait()
            return self._device.record(lambda: forward(self._network, pixels), pool)


def forward(network: DeployedNet, pixels: Tensor) -> Tensor:
    """Return float32 disparity (batch, height, width) of uint8 RGB (batch, height, width, 3)."""
    # uint8 channels last is float channels last without a copy of the layout.
    disparity: Tensor = network(pixels.permute(0, 3, 1, 2).float().div_(255))
    return disparity.float()


def set_arithmetic(precision: str) -> None:
    """Say how this process multiplies float32 on CUDA: in TF32's 10 bits, unless all 24 were asked for.

    torch's own default is TF32 in convolutions and float32 in matrix products. Its newer `fp32_precision` is
    not used: once that is set to TF32, whatever reads the older switches, torch's own code included, fails.
    """
    allowed = precision != "float32"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True  # sizes are few and fixed
