"""The CPU backend: OpenVINO, without torch in the process.

An export that lies beside its checkpoint is used as it is, so that where torch is not installed it need not
be. Otherwise a checkpoint is exported once, by a child process that imports torch and ends, and kept on disk
under its checksum; compiled models are kept beside it. It does not know queues or requests.
"""

import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from jaxtyping import Float32, UInt8

from model.exported import ExportDescription
from model.metadata import file_sha256
from service.backends.base import BackendError, BackendOptions

_log = logging.getLogger(__name__)

_EXPORT_FORMAT = 4
"""Counted up when exports change, so that old ones in the cache are not used."""
_EXPORT_TIMEOUT_S = 600
_EXPORT = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":  # PR_SET_PDEATHSIG: an export ends with the service, even one that was killed
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
runpy.run_module("model.export", run_name="__main__", alter_sys=True)
"""
_MAX_BATCH = 4
"""On two cores a batch of 4 takes nearly four times as long as one image: more only makes others wait."""
_LANES = 2
"""A thread that is done with its part of a batch goes on with the next, and does not wait for the others."""


class OpenVinoBackend:
    """A network compiled for this machine's processor.

    Args:
        checkpoint: A checkpoint file.
        options: Precision, threads and where to keep exports.

    Raises:
        BackendError: The checkpoint cannot be exported or compiled; the message says why.
    """

    def __init__(self, checkpoint: Path, options: BackendOptions) -> None:
        folder = options.cache_dir or default_cache_dir()
        path = _exported(checkpoint, folder / "openvino", options.foundation_weights)
        precision = options.precision
        if precision == "auto":
            precision = "bfloat16" if computes_in_bfloat16() else "float32"
        if precision == "float16":
            raise BackendError("OpenVINO on a CPU computes in float32 or bfloat16, not float16")
        self._precision = precision
        self._max_batch = options.max_batch or _MAX_BATCH
        core = openvino.Core()
        core.set_property({"CACHE_DIR": str(folder / "openvino" / "compiled")})
        try:
            network = core.read_model(path)
            self.network_description = ExportDescription.of_openvino(network)
            self._whole = core.compile_model(network, "CPU", _hints(precision, options.threads))
            self._threads: int = self._whole.get_property("INFERENCE_NUM_THREADS")
            streams = min(self._threads, self._max_batch)
            hints = _hints(precision, self._threads, streams)
            self._split = core.compile_model(network, "CPU", hints) if streams > 1 else self._whole
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"{path} cannot be compiled for this processor: {error}") from error
        self._lone = self._whole.create_infer_request()
        self._streams = streams
        self._idle = [[self._split.create_infer_request() for _ in range(streams)] for _ in range(_LANES)]
        self._turn = threading.Condition()
        self._alone = False
        for batch in sorted({1, streams, self._max_batch}):
            self.predict(np.zeros((batch, self.height, self.width, 3), np.uint8))

    @property
    def description(self) -> str:
        """What runs the network, and in which precision, in words."""
        version = openvino.get_version().split("-")[0]
        return f"OpenVINO {version} on CPU, {self._precision}, {self._threads} threads"

    @property
    def height(self) -> int:
        """Of the images that it takes, in pixels."""
        return self.network_description.height

    @property
    def width(self) -> int:
        """Likewise."""
        return self.network_description.width

    @property
    def max_batch(self) -> int:
        """The largest batch that it is worth giving."""
        return self._max_batch

    @property
    def lanes(self) -> int:
        """How many batches it may be given at once."""
        return _LANES

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity of RGB images.

        All threads together work on a lone image. Batches are divided among them instead: threads that do not
        wait for each other get more done, and most so while others decode and encode on the same cores.
        """
        with self._place(len(images)) as requests:
            if requests is None:
                lone: np.ndarray = self._lone.infer([images], share_inputs=True)[0].copy()
                return lone
            parts = np.array_split(images, min(len(images), self._streams))
            used = requests[: len(parts)]
            for request, part in zip(used, parts, strict=True):
                request.start_async([part], share_inputs=True)
            for request in used:
                request.wait()
            return np.concatenate([request.results[0] for request in used])

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


def default_cache_dir() -> Path:
    """Return this user's cache folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vfm-depth"


def computes_in_bfloat16() -> bool:
    """Return whether the processor has bfloat16 arithmetic; elsewhere it would be emulated, and slow."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _hints(precision: str, threads: int | None, streams: int | None = None) -> dict[str, Any]:
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    if streams is None:
        return {**hints, "PERFORMANCE_HINT": "LATENCY"}
    return {**hints, "NUM_STREAMS": streams}


def _exported(checkpoint: Path, folder: Path, foundation_weights: Path | None) -> Path:
    """Return the export of a checkpoint: the one beside it, the one in the cache, or one made now."""
    try:
        sha256 = file_sha256(checkpoint)
    except OSError as error:
        raise BackendError(f"{checkpoint}: cannot be read ({error.strerror or error})") from error
    beside = checkpoint.with_suffix(".xml")
    if _is_export(beside, sha256):
        return beside
    path = folder / f"{sha256[:32]}-{_EXPORT_FORMAT}-{platform.machine()}.xml"
    if path.exists():
        return path
    if find_spec("torch") is None:
        raise BackendError(
            f"{checkpoint} has no export beside it, and none can be made here, without torch; "
            f"expected {beside.name} from: depth-export {checkpoint.name} --format openvino --uint8-input"
        )
    _log.info("exporting %s for OpenVINO, once", checkpoint)
    command = [sys.executable, "-c", _EXPORT, str(checkpoint), "--format", "openvino"]
    command += ["--uint8-input", "--no-check", "--output", str(path)]
    if foundation_weights is not None:
        command += ["--foundation-weights", str(foundation_weights)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, with paths that the operator set
            command, capture_output=True, text=True, timeout=_EXPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"exporting {checkpoint} took longer than {_EXPORT_TIMEOUT_S} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise BackendError(f"{checkpoint} cannot be exported: {last[0]}")
    return path


def _is_export(path: Path, sha256: str) -> bool:
    """Return whether a file is the export of the checkpoint with this checksum, as this backend feeds it."""
    if not path.exists():
        return False
    try:
        description = ExportDescription.of_openvino(openvino.Core().read_model(path))
    except (RuntimeError, ValueError) as error:
        _log.warning("%s is not used: %s", path, error)
        return False
    fits = description.checkpoint_sha256 == sha256 and description.uint8_input and description.batch is None
    if not fits:
        _log.warning("%s is not used: it is of another checkpoint, or was not made with --uint8-input", path)
    return fits
