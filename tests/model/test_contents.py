"""The hash by which versions and exports go is of what a checkpoint holds, not of how it was written."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import (
    METADATA_KEY,
    CheckpointError,
    CheckpointMetadata,
    DepthScale,
    contents_sha256,
    read_metadata,
)
from tests.service.checkpoints import write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "a.safetensors")


def test_a_checkpoint_that_is_saved_again_keeps_its_hash(checkpoint: Path, tmp_path: Path) -> None:
    network, metadata = load_checkpoint(checkpoint)
    before = contents_sha256(checkpoint)
    for number in range(3):  # the order of the header differs from time to time
        again = tmp_path / f"{number}.safetensors"
        save_checkpoint(again, network, metadata)
        assert contents_sha256(again) == before


def test_the_order_of_tensors_and_what_is_said_of_them_do_not_count(checkpoint: Path, tmp_path: Path) -> None:
    metadata = dataclasses.replace(read_metadata(checkpoint), licence="mine", golden=None)
    spelt_otherwise = json.dumps(json.loads(metadata.to_json()), indent=2, sort_keys=True)
    again = tmp_path / "again.safetensors"
    tensors = load_file(checkpoint)
    save_file(dict(reversed(tensors.items())), again, {"more": "text", METADATA_KEY: spelt_otherwise})
    assert again.read_bytes() != checkpoint.read_bytes()
    assert contents_sha256(again) == contents_sha256(checkpoint)


def _one_bit(tensors: dict[str, torch.Tensor], metadata: CheckpointMetadata) -> CheckpointMetadata:
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensors[name].view(torch.int32).view(-1)[-1] ^= 1
    return metadata


def _swapped(tensors: dict[str, torch.Tensor], metadata: CheckpointMetadata) -> CheckpointMetadata:
    one, other = next(
        (one, other)
        for one in tensors
        for other in tensors
        if tensors[one].shape == tensors[other].shape and not tensors[one].equal(tensors[other])
    )
    tensors[one], tensors[other] = tensors[other], tensors[one]
    return metadata


def _rescaled(tensors: dict[str, torch.Tensor], metadata: CheckpointMetadata) -> CheckpointMetadata:
    return dataclasses.replace(metadata, scale=DepthScale(unit="metre", metres_per_unit=2.0000001))


def _reconfigured(tensors: dict[str, torch.Tensor], metadata: CheckpointMetadata) -> CheckpointMetadata:
    return dataclasses.replace(metadata, config=dataclasses.replace(metadata.config, width=128))


@pytest.mark.parametrize("change", [_one_bit, _swapped, _rescaled, _reconfigured])
def test_whatever_decides_depth_changes_the_hash(
    checkpoint: Path,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], CheckpointMetadata], CheckpointMetadata],
) -> None:
    tensors = load_file(checkpoint)
    metadata = change(tensors, read_metadata(checkpoint))
    save_file(tensors, tmp_path / "b.safetensors", {METADATA_KEY: metadata.to_json()})
    assert contents_sha256(tmp_path / "b.safetensors") != contents_sha256(checkpoint)


def test_what_is_no_checkpoint_has_no_hash(tmp_path: Path) -> None:
    for content in (b"", b"not a checkpoint"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(CheckpointError, match="a: "):
            contents_sha256(tmp_path / "a")
