"""Where the weights of a timm network come from: its hub, a local file, or nowhere (random, for tests).

This module does not know which network it fills.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

WeightsSource = Literal["hub", "random"] | Path
"""``"hub"``: timm downloads what the name stands for; a path: a ``.safetensors`` file in timm's layout."""


class WeightsError(ValueError):
    """Pretrained weights that cannot be had, or do not fit the network; the message says which and why."""


def create_with_weights(name: str, source: WeightsSource, **options: Any) -> nn.Module:
    """Create a timm network by name and fill it.

    Args:
        name: timm's model name; a tag after the dot chooses among hub weights.
        source: Where the weights come from.
        options: Passed on to ``timm.create_model``.

    Raises:
        WeightsError: The name or the source is unknown, the hub cannot be reached, or the file does not fit.
    """
    if not timm.is_model(name):
        raise WeightsError(f"timm has no model {name!r}; timm.list_models() names those it has")
    if not isinstance(source, Path) and source not in ("hub", "random"):
        raise WeightsError(f"weights of {name!r} are {source!r}; expected 'hub', 'random' or a Path")
    try:
        network: nn.Module = timm.create_model(name, pretrained=source == "hub", **options)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot create {name!r} with weights from {source!r}: {error}. Without a network, pass the path "
            "of a .safetensors file in timm's layout"
        ) from error
    if isinstance(source, Path):
        _fill(network, name, source)
    return network


def _fill(network: nn.Module, name: str, path: Path) -> None:
    """Load a file; extra tensors (a classifier that this network leaves out) are ignored, missing are not."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights for {name!r} from {path}: {error}") from error
    expected = network.state_dict()
    if missing := sorted(set(expected) - set(found) - _counters(expected)):
        raise WeightsError(f"{path} lacks {len(missing)} tensors of {name!r}, the first is {missing[0]!r}")
    for key, tensor in found.items():
        if key in expected and tensor.shape != expected[key].shape:
            got, want = tuple(tensor.shape), tuple(expected[key].shape)
            raise WeightsError(f"{path}: {key} has shape {got}; {name!r} expects {want}")
    network.load_state_dict({key: found[key].float() for key in expected if key in found}, strict=False)


def _counters(state: Mapping[str, Tensor]) -> set[str]:
    """Batch norm's step counters: files made for inference leave them out, and nothing here reads them."""
    return {key for key in state if key.endswith("num_batches_tracked")}


def weights_sha256(network: nn.Module) -> str:
    """Return a hash of a network's floating-point weights, as they round to half precision.

    Rounding first gives the same name to a file stored in half precision and to the original it came from.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        if tensor.is_floating_point():
            digest.update(key.encode())
            digest.update(tensor.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
