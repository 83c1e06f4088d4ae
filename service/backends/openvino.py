"""The CPU backend: OpenVINO, without torch in the process."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from jaxtyping import Float32, UInt8

from model.exported import ExportDescription, openvino_hints
from model.golden import GoldenAnswer
from service.backends.base import BackendError, BackendOptions
from service.backends.exports import ExportCache

_log = logging.getLogger(__name__)

_MAX_BATCH = 4
"""On two cores a batch of 4 takes four times as long as one image: more only makes others wait."""
_LANES = 2
"""A thread that is done with its images of a batch goes on with the next, and waits for no other."""


class OpenVinoBackend:
    """A network compiled for this machine's processor.

    Args:
        checkpoint: A checkpoint file.
        options: Precision, threads and where to keep exports.

    Raises:
        BackendError: The checkpoint cannot be exported or compiled; the message says why.
    """

    def __init__(self, checkpoint: Path, options: BackendOptions) -> None:
        self._cache = ExportCache(checkpoint, options.cache_dir)
        path = self._cache.find_or_make(options.foundation_weights)
        precision = options.precision
        if precision == "auto":
            precision = "bfloat16" if computes_in_bfloat16() else "float32"
        if precision not in ("float32", "bfloat16"):
            raise BackendError(f"OpenVINO on a CPU computes in float32 or bfloat16, not {precision}")
        self._precision = precision
        self._max_batch = options.max_batch or _MAX_BATCH
        try:
            self._compile(path, options.threads, compiled=self._cache.compiled())
        except (RuntimeError, ValueError) as error:
            _log.warning("%s cannot be compiled with what is cached: %s", path, error)
            self._cache.discard_compiled()
            try:
                self._compile(path, options.threads, compiled=None)
            except (RuntimeError, ValueError) as again:
                raise BackendError(f"{path} cannot be compiled for this processor: {again}") from again
        self._cache.keep_compiled()
        self._lone = self._whole.create_infer_request()
        size = self._max_batch
        self._idle = [[self._split.create_infer_request() for _ in range(size)] for _ in range(_LANES)]
        self._turn = threading.Condition()
        self._alone = False

    def _compile(self, path: Path, threads: int | None, *, compiled: Path | None) -> None:
        """Compile for lone images and for batches; what was compiled before comes from a folder.

        Both take one image at a time: of a fixed size, an image takes less time and memory than any image of
        a batch of any size.
        """
        core = openvino.Core()
        if compiled is not None:
            core.set_property({"CACHE_DIR": str(compiled)})
        network = core.read_model(path)
        self._description = ExportDescription.of_openvino(network)
        network.reshape([1, self.height, self.width, 3])
        self._whole = core.compile_model(network, "CPU", _hints(self._precision, threads))
        self._threads: int = self._whole.get_property("INFERENCE_NUM_THREADS")
        self._streams = min(self._threads, self._max_batch)
        hints = _hints(self._precision, self._threads, self._streams)
        self._split = core.compile_model(network, "CPU", hints) if self._streams > 1 else self._whole

    @property
    def description(self) -> str:
        """What runs the network, and in which precision, in words."""
        version = openvino.get_version().split("-")[0]
        return f"OpenVINO {version} on CPU, {self._precision}, {self._threads} threads"

    @property
    def height(self) -> int:
        """Of the images that it takes, in pixels."""
        return self._description.height

    @property
    def width(self) -> int:
        """Likewise."""
        return self._description.width

    @property
    def precision(self) -> str:
        """In which it computes."""
        return self._precision

    @property
    def golden(self) -> GoldenAnswer | None:
        """What the plain network returned for the drawn image when it was exported."""
        return self._description.golden

    @property
    def max_batch(self) -> int:
        """The largest batch that it is worth giving."""
        return self._max_batch

    @property
    def lanes(self) -> int:
        """How many batches it may be given at once."""
        return _LANES

    @property
    def padded(self) -> bool:
        """Return False: a batch costs what its images cost."""
        return False

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity of RGB images.

        All threads together work on a lone image. Of a batch each thread takes one image after another:
        threads that do not wait for each other get more done, and most so while others decode and encode on
        the same cores.
        """
        disparity = np.empty(images.shape[:3], np.float32)
        with self._place(len(images)) as requests:
            if requests is None:
                for place in range(len(images)):
                    disparity[place] = self._lone.infer([images[place : place + 1]], share_inputs=True)[0]
                return disparity
            for first in range(0, len(images), len(requests)):
                places = range(first, min(first + len(requests), len(images)))
                for request, place in zip(requests, places, strict=False):
                    request.start_async([images[place : place + 1]], share_inputs=True)
                for request, place in zip(requests, places, strict=False):
                    request.wait()
                    disparity[place] = request.results[0]
        return disparity

    @contextmanager
    def _place(self, size: int) -> Iterator[list[openvino.InferRequest] | None]:
        """Wait for a place among the batches under way: None is all threads', else the requests of a lane."""
        with self._turn:
            self._turn.wait_for(lambda: not self._alone and self._idle)
            self._alone = size < self._streams and len(self._idle) == _LANES
            lane = None if self._alone else self._idle.pop()
        try:
            yield lane
        finally:
            with self._turn:
                if lane is None:
                    self._alone = False
                else:
                    self._idle.append(lane)
                self._turn.notify_all()

    def memory_bytes(self) -> int:
        """Return 0: the device's memory is the process's own."""
        return 0

    def close(self) -> None:
        """Let the compiled model go, once no batch is under way."""
        with self._turn:
            self._turn.wait_for(lambda: not self._alone and len(self._idle) == _LANES)
            del self._lone, self._idle, self._whole, self._split

    def discard(self) -> bool:
        """Delete the cached export and compiled network; return whether there was anything."""
        return self._cache.discard()


def computes_in_bfloat16() -> bool:
    """Return whether the processor has bfloat16 arithmetic; elsewhere it would be emulated, and slow."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _hints(precision: str, threads: int | None, streams: int | None = None) -> dict[str, Any]:
    how = {"PERFORMANCE_HINT": "LATENCY"} if streams is None else {"NUM_STREAMS": streams}
    return {**openvino_hints(precision, threads), **how}
