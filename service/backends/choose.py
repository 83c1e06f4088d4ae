"""Which backend on which devices, and why: said once, when the service starts.

It does not import torch unless torch is what was asked for, or a GPU is there to be found.
"""

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from service.backends.base import Backend, BackendError, BackendOptions


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
            raise BackendError(
                f"device is {device!r}; this machine has {', '.join(found) or 'no CUDA device'}"
            )
        return "torch", devices, f"{gpus} CUDA device{'s' if gpus != 1 else ''} found"
    if backend == "torch":
        return "torch", ("cpu",), "torch asked for, and no CUDA device"
    return "openvino", ("cpu",), "no CUDA device" if device == "auto" else "the CPU asked for"


def cuda_devices() -> int:
    """Return how many GPUs torch can use; torch is not imported where no driver shows a device."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) or find_spec("torch") is None:
        return 0
    from service.backends.torch import device_count

    return device_count()


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

    Raises:
        BackendError: It cannot be loaded; the message says why.
    """
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
