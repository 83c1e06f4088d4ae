"""Several processes that train one network, started by torchrun; one process where it was not.

CUDA with NCCL is untested here: no GPU.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, kw_only=True)
class Process:
    """Which of how many processes this is, and where it computes."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0


@contextmanager
def joined(device: str = "auto") -> Iterator[Process]:
    """Join the processes that torchrun started, and leave them at the end.

    Args:
        device: "auto", or what torch calls it.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if device == "auto":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        chosen = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    else:
        chosen = torch.device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size == 1:
        yield Process(rank=0, world_size=1, device=chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(rank=rank, world_size=world_size, device=chosen)
    finally:
        distributed.destroy_process_group()


def wrapped(module: nn.Module, process: Process) -> nn.Module:
    """Return a module whose gradients are averaged over the processes; itself where there is one process."""
    if process.world_size == 1:
        return module
    devices = [process.device.index] if process.device.type == "cuda" else None
    # The pose network sees nothing where all poses are known, and such batches need not fall together.
    # No buffer ever changes: batch norms keep their statistics.
    return DistributedDataParallel(
        module, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
    )


def unsynchronised(module: nn.Module, wished: bool) -> AbstractContextManager[None]:
    """Return a context whose backward passes leave gradients with each process, if so wished."""
    if wished and isinstance(module, DistributedDataParallel):
        return cast(AbstractContextManager[None], module.no_sync())
    return nullcontext()


def agreed(flag: bool, process: Process) -> bool:
    """Return whether any process raised a flag, so that all do the same."""
    if process.world_size == 1:
        return flag
    shared = torch.tensor([float(flag)], device=process.device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return bool(shared.item())


def wait_for_all(process: Process) -> None:
    """Wait until every process is here."""
    if process.world_size > 1:
        distributed.barrier()
