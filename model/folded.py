"""Batch norms folded into the convolutions before them: the same function, an operation less for each.

A batch norm in evaluation mode multiplies each channel and adds to it, which the weights and the bias of the
convolution can do as well (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2).
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(network: nn.Module, *example: Tensor) -> int:
    """Fold, in place, every batch norm that takes what a convolution returns and nothing else does.

    What meets what is seen in a pass through the network, not guessed from names.

    Args:
        network: In evaluation mode; its weights may be in any precision, and keep it.
        example: What the network takes, of the least size that it can take.

    Returns:
        How many were folded.

    Raises:
        ValueError: The network is in training mode: its batch norms depend on the batch.
    """
    if any(module.training for module in network.modules() if isinstance(module, _BatchNorm)):
        raise ValueError("batch norms are in training mode; expected network.eval()")
    pairs = _pairs(network, example)
    for norm, convolution in pairs.items():
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,  # type: ignore[arg-type]
            norm.running_var,  # type: ignore[arg-type]
            norm.eps,
            norm.weight,
            norm.bias,
        )
        convolution.weight, convolution.bias = weight, bias
    _replace(network, pairs)
    network.requires_grad_(False)
    return len(pairs)


def _pairs(network: nn.Module, example: tuple[Tensor, ...]) -> dict[_BatchNorm, nn.Conv2d]:
    """Return each batch norm's convolution, where the two are used once and by nobody else."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensor is kept, so that its id stays its own
    taken: Counter[int] = Counter()
    runs: Counter[nn.Module] = Counter()
    pairs: dict[_BatchNorm, nn.Conv2d] = {}

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        taken.update(id(one) for one in inputs)
        found = made.get(id(inputs[0])) if inputs else None
        if isinstance(module, _BatchNorm) and found is not None:
            pairs[module] = found[0]

    def after(module: nn.Module, _: Any, output: Any) -> None:
        runs[module] += 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (module, output)
            taken[id(output)] = 0  # whatever had this id is gone

    leaves = [one for one in network.modules() if isinstance(one, _BatchNorm) or not any(one.children())]
    hooks = [one.register_forward_pre_hook(before) for one in leaves]
    hooks += [one.register_forward_hook(after) for one in leaves]
    try:
        network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    alone = {convolution for key, (convolution, _) in made.items() if taken[key] == 1}
    return {
        norm: convolution
        for norm, convolution in pairs.items()
        if convolution in alone and runs[norm] == runs[convolution] == 1
    }


def _replace(network: nn.Module, norms: dict[_BatchNorm, nn.Conv2d]) -> None:
    """Leave of each batch norm what it does besides: timm's own kind drops and activates too."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and child in norms:
                rest = [part for part in child.children() if not isinstance(part, nn.Identity)]
                setattr(parent, name, nn.Sequential(*rest) if rest else nn.Identity())
