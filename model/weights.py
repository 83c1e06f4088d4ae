"""Where the weights of a timm network come from: its hub, a local file, or nowhere (random, for tests)."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

_log = logging.getLogger(__name__)

_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT_S = 10
WeightsSource = Literal["hub", "random"] | Path
"""``"hub"``: timm downloads what the name stands for; a path: a ``.safetensors`` file in timm's layout."""


class WeightsError(ValueError):
    """Pretrained weights that cannot be had, or do not fit the network; the message says which and why."""


def create_with_weights(name: str, source: WeightsSource, *, setting: str = "", **options: Any) -> nn.Module:
    """Create a timm network by name and fill it.

    Args:
        name: timm's model name; a tag after the dot chooses among hub weights.
        source: Where the weights come from.
        setting: What names a file in place of the hub, for errors.
        options: Passed on to ``timm.create_model``.

    Raises:
        WeightsError: The name or the source is unknown, the hub cannot be reached, or the file does not fit.
    """
    if not timm.is_model(name):
        raise WeightsError(f"timm has no model {name!r}; timm.list_models() names those it has")
    if not isinstance(source, Path) and source not in ("hub", "random"):
        raise WeightsError(f"weights of {name!r} are {source!r}; expected 'hub', 'random' or a Path")
    if source == "hub":
        options |= _from_hub(name, setting)
    try:
        network: nn.Module = timm.create_model(name, pretrained=source == "hub", **options)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot create {name!r} with weights from {source!r}: {error}. {_instead(setting)}"
        ) from error
    if isinstance(source, Path):
        _fill(network, name, source)
    return network


def _from_hub(name: str, setting: str) -> dict[str, Any]:
    """Return the option by which timm takes a file that the hub gave before; else say that it is asked now.

    huggingface_hub tries for a minute, in silence, to reach a hub that is away, even where the file is here.

    Raises:
        WeightsError: The hub cannot be reached, and gave no such file before.
    """
    described = timm.get_pretrained_cfg(name)
    if described is None or not described.hf_hub_id:
        return {}
    found = huggingface_hub.try_to_load_from_cache(
        described.hf_hub_id, described.hf_hub_filename or _HUB_FILE
    )
    if isinstance(found, str):
        return {"pretrained_cfg_overlay": {"file": found}}
    hub = huggingface_hub.constants.ENDPOINT
    _log.warning("fetching the weights of %s from %s. %s", name, hub, _instead(setting))
    try:
        huggingface_hub.get_session().head(hub, timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # of whichever HTTP library this version of huggingface_hub is built on
        raise WeightsError(
            f"cannot fetch the weights of {name!r}: {hub} cannot be reached ({error}). {_instead(setting)}"
        ) from error
    return {}


def _instead(setting: str) -> str:
    way = f"name one by {setting}" if setting else "pass its path"
    return f"Without a network, {way}: a .safetensors file in timm's layout"


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
