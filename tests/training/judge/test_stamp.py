"""Accuracy written into a checkpoint that stays the same network."""

import dataclasses

import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.checksums import file_sha256
from model.metadata import (
    Accuracy,
    CheckpointError,
    CheckpointMetadata,
    Provenance,
    read_metadata,
)
from tests.model.networks import lively
from training.judge.stamp import stamp


def row(**changes: object) -> Accuracy:
    plain = Accuracy(
        protocol="folder-garg",
        alignment="median",
        data="04",
        images=51,
        abs_rel=0.13,
        sq_rel=0.9,
        rmse=4.5,
        rmse_log=0.2,
        delta1=0.85,
        delta2=0.95,
        delta3=0.98,
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def checkpoint(tmp_path):
    network = lively("tiny")
    path = tmp_path / "tiny.safetensors"
    metadata = CheckpointMetadata(config=network.config, provenance=Provenance(recipe="smoke"), licence="CC0")
    save_checkpoint(path, network, metadata, dtype="float16", train_only_heads=False)
    return path


def test_a_stamp_adds_accuracy_and_changes_nothing_else(checkpoint):
    before, weights = read_metadata(checkpoint), load_checkpoint(checkpoint)[0].state_dict()
    stamped = stamp(checkpoint, [row()])
    assert stamped == read_metadata(checkpoint) == dataclasses.replace(before, accuracy=(row(),))
    after = load_checkpoint(checkpoint)[0].state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weights[name]) for name in weights)


def test_a_newer_measurement_takes_the_place_of_the_same_one_only(checkpoint):
    stamp(checkpoint, [row(), row(alignment="none", abs_rel=0.2)])
    stamp(checkpoint, [row(abs_rel=0.12)])
    assert read_metadata(checkpoint).accuracy == (row(alignment="none", abs_rel=0.2), row(abs_rel=0.12))
    stamp(checkpoint, [row(data="traffic", abs_rel=0.3)])
    assert [kept.data for kept in read_metadata(checkpoint).accuracy] == ["04", "04", "traffic"]


def test_stamping_twice_gives_the_same_file_and_leaves_nothing_beside_it(checkpoint):
    plain = file_sha256(checkpoint)
    stamp(checkpoint, [row()])
    once = file_sha256(checkpoint)
    stamp(checkpoint, [row()])
    assert file_sha256(checkpoint) == once != plain
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="notes"):
        stamp(path, [row()])
    assert path.read_bytes() == b"nothing of the kind"
