"""Which backend on which devices, and why: said once, when the service starts.

It does not import torch unless torch is what was asked for, or a GPU is there to be found.
"""

import logging
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from model.drawing import TOLERANCES, check_answer, drawn_image
from model.golden import GoldenError
from service.backends.base import Backend, BackendError, BackendOptions

_log = logging.getLogger(__name__)

_TORCH = "which runs networks on CUDA devices: pip install 'vfm-depth[torch]'"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where networks run."""

    backend: str
    """``openvino``, ``torch`` or ``simulated``."""
    devices: tuple[str, ...]
    """One for each instance."""
    threads: int | None
    """Of each instance on a CPU."""
    reason: str
    """Why so, in words for the log."""


def choose(
    backend: str = "auto", device: str = "auto", instances: int | None = None, threads: int | None = None
) -> Placement:
    """Choose where networks run.

    Args:
        backend: ``auto``, ``openvino``, ``torch`` or ``simulated``.
        device: ``auto``, ``cpu``, ``cuda`` for every GPU, or a list such as ``cuda:0,cuda:1``.
        instances: Copies on each device; 1 where None.
        threads: Of each instance on a CPU; the cores divided among them where None.

    Raises:
        BackendError: What was asked for is not there, or does not fit together.
    """
    kind, devices, reason = _kind(backend, device)
    copies = instances or 1
    if devices == ("cpu",) and threads is None:
        threads = max(1, cores() // copies)
    return Placement(
        backend=kind,
        devices=tuple(name for name in devices for _ in range(copies)),
        threads=threads if devices == ("cpu",) else None,
        reason=reason,
    )


def _kind(backend: str, device: str) -> tuple[str, tuple[str, ...], str]:
    if backend == "simulated":
        return "simulated", ("cpu",), "asked for"
    if backend == "openvino":
        if device not in ("auto", "cpu"):
            raise BackendError(f"device is {device!r}; OpenVINO runs on the CPU here, expected auto or cpu")
        return "openvino", ("cpu",), "asked for"
    wanted = () if device in ("auto", "cpu", "cuda") else tuple(part.strip() for part in device.split(","))
    gpus = 0 if device == "cpu" else cuda_devices()
    if wanted or device == "cuda" or (device == "auto" and gpus):
        found = tuple(f"cuda:{index}" for index in range(gpus))
        devices = wanted or found
        if not devices or not set(devices) <= set(found):
            none = "no CUDA device" if find_spec("torch") else f"no torch, {_TORCH}"
            raise BackendError(f"device is {device!r}; this machine has {', '.join(found) or none}")
        return "torch", devices, f"{gpus} CUDA device{'s' if gpus != 1 else ''} found"
    if backend == "torch":
        if find_spec("torch") is None:
            raise BackendError(f"backend is 'torch', and torch is not installed, {_TORCH}")
        return "torch", ("cpu",), "torch asked for, and no CUDA device"
    if device == "cpu":
        return "openvino", ("cpu",), "the CPU asked for"
    idle = find_spec("torch") is None and _has_nvidia_device()
    return "openvino", ("cpu",), f"there is a GPU, and no torch, {_TORCH}" if idle else "no CUDA device"


def cuda_devices() -> int:
    """Return how many GPUs torch can use; torch is not imported where no driver shows a device."""
    if not _has_nvidia_device() or find_spec("torch") is None:
        return 0
    from service.backends.torch import device_count

    return device_count()


def _has_nvidia_device() -> bool:
    """Return whether NVIDIA's driver shows a device."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processors' worth of time this process may use, a container's limit included.

    A process with more threads than its quota has processors is stopped for the rest of each period.
    """
    affine, quota = len(os.sched_getaffinity(0)), _cpu_quota(cgroup)
    return affine if quota is None else max(1, min(affine, math.floor(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """Return the processors that this container is limited to; None where it is not."""
    try:  # cgroup v2, as a container sees its own
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:  # v1
            files = (cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
            quota, period = (file.read_text() for file in files)
        except OSError:
            return None
    limited = quota.strip().isdecimal() and int(period) > 0  # otherwise "max", or -1
    return int(quota) / int(period) if limited else None


def open_backend(kind: str, checkpoint: Path, options: BackendOptions) -> Backend:
    """Load a checkpoint on a device and warm it up; takes seconds, and more where an export is made first.

    Nothing is returned that fails the golden check. Where something was cached, it is made again first, once.

    Raises:
        BackendError: It cannot be loaded, or fails the golden check; the message says why.
    """
    again = False
    while True:
        backend = _open(kind, checkpoint, options)
        try:
            check_golden(backend)
        except GoldenError as error:
            backend.close()
            if again or not backend.discard():
                raise BackendError(f"{checkpoint} on {backend.description}: {error}") from error
            again = True
            _log.warning("%s: %s; what was cached for it is made again", checkpoint, error)
        else:
            return backend


def check_golden(backend: Backend) -> None:
    """Have a backend answer the drawn image in batches of all sizes; this warms it up, too.

    Raises:
        GoldenError: An answer differs from the plain network's.
    """
    if backend.golden is None:
        return
    tolerance = TOLERANCES[backend.precision]
    image = drawn_image(backend.height, backend.width)
    most = backend.max_batch
    lanes = backend.lanes if backend.padded else 1  # which take turns, and have recorded the network each
    for size in sorted({min(2**power, most) for power in range(most.bit_length() + 1)}):
        for _ in range(lanes):
            for disparity in backend.predict(np.stack([image] * size)):
                check_answer(backend.golden, disparity, tolerance)


def _open(kind: str, checkpoint: Path, options: BackendOptions) -> Backend:
    if checkpoint.suffix in (".onnx", ".xml"):
        from service.backends.described import DescribedBackend

        return DescribedBackend(checkpoint, options)
    if kind == "openvino":
        from service.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(checkpoint, options)
    if kind == "torch":
        from service.backends.torch import TorchBackend

        return TorchBackend(checkpoint, options)
    if kind == "simulated":
        from service.backends.simulated import SimulatedBackend

        return SimulatedBackend(checkpoint, options)
    raise BackendError(f"backend is {kind!r}; expected openvino, torch or simulated")
