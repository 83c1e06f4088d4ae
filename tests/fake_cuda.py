"""Networks on a CUDA device that is not there: every operation is dispatched, and none is computed.

torch's fake tensors know shapes, types and devices. They refuse what would make the host wait for a value
(`item`, `nonzero`), and what mixes devices.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Dispatched(TorchDispatchMode):
    """Counts operations, and notes those that make a tensor anywhere but on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.off_device: list[str] = []
        self.converted: list[Tensor] = []
        """What was brought to another type."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if str(func) != "prim.device.default":
            self.operators[str(func)] += 1
        if str(func) == "aten._to_copy.default":
            self.converted.append(args[0])
        if any(isinstance(one, Tensor) and one.device.type != "cuda" for one in tree_leaves(results)):
            self.off_device.append(str(func))
        return results


@contextmanager
def fake_cuda(*modules: nn.Module) -> Iterator[Dispatched]:
    """Put modules onto the device for ever, and count what is dispatched inside."""
    with FakeTensorMode():
        for module in modules:
            for part in module.modules():
                for held in (part._parameters, part._buffers):
                    for name, tensor in held.items():
                        if tensor is not None:
                            held[name] = on_device(tensor)  # type: ignore[assignment]
        with Dispatched() as dispatched:
            yield dispatched


def on_device(tensor: Tensor) -> Tensor:
    """Return a fake of a tensor, or of a parameter, on the device."""
    fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
    return nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
