"""A network and its metadata, to one safetensors file and back; nothing is ever unpickled.

Files are replaced in one step.
"""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save
from torch import Tensor

from model.atomic import replacing
from model.golden import GoldenAnswer
from model.metadata import METADATA_KEY, CheckpointError, CheckpointMetadata, Storage, open_checkpoint
from model.network import FOUNDATION_PREFIX, DepthNetwork, StudentNet, TeacherNet, build
from model.weights import WeightsSource


def save_checkpoint(
    path: Path,
    network: DepthNetwork,
    metadata: CheckpointMetadata,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    train_only_heads: bool = True,
    foundation: bool = False,
) -> CheckpointMetadata:
    """Write a network's weights and their description; a file already there is replaced in one step.

    Args:
        path: The file, whose folder is made where missing.
        network: What `model.network.build` composed.
        metadata: What to say of it; storage, the golden answer and the foundation's fingerprint are filled
            in here.
        dtype: Of matrices and kernels. Vectors stay float32: they are few, and variances leave half's range.
        train_only_heads: Whether to keep the heads that only training needs.
        foundation: Whether to put the frozen foundation model's weights into the file too, rather than its
            name and fingerprint only.

    Returns:
        The description as it was written.

    Raises:
        ValueError: The description is of another network, or a weight or the output for the drawn image
            is not finite; nothing was written.
    """
    if metadata.config != network.config:
        raise ValueError(f"{path}: the description's configuration is not the network's")
    storage = Storage(dtype=dtype, train_only_heads=train_only_heads, foundation=foundation)
    metadata = dataclasses.replace(metadata, storage=storage, foundation_sha256=_fingerprint(network))
    weights = {
        name: tensor.detach().to("cpu", stored_dtype(tensor, storage)).contiguous()
        for name, tensor in _stored_state(network, storage).items()
    }
    if (broken := _not_finite(weights)) is not None:
        raise ValueError(
            f"{path}: {broken!r} holds NaN or infinity as {dtype}; the checkpoint was not written"
        )
    metadata = dataclasses.replace(metadata, golden=_golden(network, weights))
    # One entry alone: safetensors writes several in an order that changes from call to call.
    content = save(weights, metadata={METADATA_KEY: metadata.to_json()})
    with replacing(path) as partial:
        partial.write_bytes(content)
    return metadata


def load_checkpoint(
    path: Path, *, foundation_weights: WeightsSource = "hub"
) -> tuple[TeacherNet | StudentNet, CheckpointMetadata]:
    """Build the network that a checkpoint describes and fill it with the checkpoint's weights.

    Args:
        path: The file.
        foundation_weights: Where the frozen foundation model's weights come from, if the network has one and
            the file does not hold them.

    Returns:
        The network, in float32, on the CPU and in evaluation mode, and what is said of it.

    Raises:
        CheckpointError: The file is missing or damaged, does not fit its own description, or was trained with
            other foundation weights.
    """
    with open_checkpoint(path, "pt") as (handle, metadata):
        weights = {name: handle.get_tensor(name) for name in handle.offset_keys()}
    try:
        network = build(
            metadata.config,
            foundation_weights="random" if metadata.storage.foundation else foundation_weights,
            backbone_weights="random",
        )
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(path, f"the network that it describes cannot be built: {error}") from error
    if not metadata.storage.train_only_heads:
        network.decoder.drop_training_heads()
    _check_weights(path, weights, _stored_state(network, metadata.storage), metadata.storage)
    network.load_state_dict(weights, strict=False)
    _check_foundation(path, network, metadata)
    return network.eval(), metadata


def _golden(network: DepthNetwork, stored: Mapping[str, Tensor]) -> GoldenAnswer:
    """Return the golden answer of the weights as they are stored, which may be rounded."""
    rounded = copy.deepcopy(network).to("cpu")
    rounded.load_state_dict(stored, strict=False)
    return rounded.deployed().golden_answer()


def stored_dtype(tensor: Tensor, storage: Storage) -> torch.dtype:
    """Return the dtype in which a network's tensor is stored."""
    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float16 if storage.dtype == "float16" and tensor.ndim > 1 else torch.float32


def _stored_state(network: DepthNetwork, storage: Storage) -> dict[str, Tensor]:
    """Return a network's tensors by name, as far as a file of this kind holds them."""
    if not storage.train_only_heads:
        network = copy.deepcopy(network)
        network.decoder.drop_training_heads()
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if storage.foundation or not name.startswith(FOUNDATION_PREFIX)
    }


def _check_weights(
    path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], storage: Storage
) -> None:
    if missing := sorted(set(expected) - set(weights)):
        raise CheckpointError(
            path, f"{len(missing)} tensors that its configuration needs are missing, such as {missing[0]!r}"
        )
    if extra := sorted(set(weights) - set(expected)):
        raise CheckpointError(
            path, f"{len(extra)} tensors do not belong to its configuration, such as {extra[0]!r}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                path,
                f"{name!r} has the shape {tuple(tensor.shape)}; "
                f"its configuration needs {tuple(expected[name].shape)}",
            )
        if tensor.dtype != (dtype := stored_dtype(expected[name], storage)):
            raise CheckpointError(path, f"{name!r} is of {tensor.dtype}; its description says {dtype}")
    if (broken := _not_finite(weights)) is not None:
        raise CheckpointError(path, f"{broken!r} holds NaN or infinity")


def _not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor that holds NaN or infinity."""
    return next((name for name, tensor in weights.items() if not bool(tensor.isfinite().all())), None)


def _fingerprint(network: DepthNetwork) -> str | None:
    return network.foundation.fingerprint if isinstance(network, TeacherNet) and network.foundation else None


def _check_foundation(path: Path, network: DepthNetwork, metadata: CheckpointMetadata) -> None:
    found, expected = _fingerprint(network), metadata.foundation_sha256
    if found != expected:
        raise CheckpointError(
            path,
            f"it was trained with foundation weights of fingerprint {expected}, "
            f"and those at hand have {found}",
        )
