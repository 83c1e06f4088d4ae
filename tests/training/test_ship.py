import dataclasses
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import Accuracy, CheckpointMetadata, Provenance
from tests.model.networks import lively
from training.ship import ShipConfig, main, ship

ROW = Accuracy(
    protocol="folder", alignment="median", data="/home/me", images=1, abs_rel=0.1, sq_rel=0.1, rmse=1.0,
    rmse_log=0.1, delta1=0.9, delta2=0.95, delta3=0.99,
)  # fmt: skip


def written(path: Path, name: str) -> Path:
    network = lively(name)
    provenance = Provenance(data=("KITTI raw at /home/me/kitti",), recipe="distil", steps=7)
    metadata = CheckpointMetadata(config=network.config, provenance=provenance, accuracy=(ROW,))
    save_checkpoint(path, network, metadata)
    return path


def wanted(tmp_path: Path, name: str) -> ShipConfig:
    return ShipConfig(
        checkpoint=written(tmp_path / "run.safetensors", name),
        output=tmp_path / "shipped.safetensors",
        licence="CC BY-NC-SA 3.0",
        data=("a street",),
        metres_per_unit=1.5,
        foundation_weights="random",
    )


def test_what_is_shipped_is_half_as_large_licensed_scaled_and_names_no_folder(tmp_path: Path) -> None:
    config = wanted(tmp_path, "tiny")
    ship(config)
    network, metadata = load_checkpoint(config.output)
    assert config.output.stat().st_size < 0.6 * config.checkpoint.stat().st_size
    assert (metadata.licence, metadata.scale.metres_per_unit) == ("CC BY-NC-SA 3.0", 1.5)
    assert (metadata.provenance.recipe, metadata.provenance.steps) == ("distil", 7)
    assert b"/home/me" not in config.output.read_bytes()
    assert network.decoder.category_head is None


def test_a_shipped_student_answers_nearly_as_before(tmp_path: Path) -> None:
    config = wanted(tmp_path, "tiny")
    ship(config)
    image = torch.rand(1, 3, 64, 96)
    before, _ = load_checkpoint(config.checkpoint)
    after, _ = load_checkpoint(config.output)
    with torch.no_grad():
        torch.testing.assert_close(after(image).disparity, before(image).disparity, rtol=0.02, atol=1e-4)


def test_a_shipped_teacher_keeps_the_heads_that_students_learn_from(tmp_path: Path) -> None:
    config = dataclasses.replace(
        wanted(tmp_path, "tiny"), checkpoint=written(tmp_path / "t.safetensors", "tiny")
    )
    _, metadata = load_checkpoint(config.checkpoint)
    teacher = dataclasses.replace(metadata.config, role="teacher")
    lively_teacher = lively("tiny")
    lively_teacher.config = teacher
    save_checkpoint(config.checkpoint, lively_teacher, dataclasses.replace(metadata, config=teacher))
    ship(config)
    shipped, _ = load_checkpoint(config.output)
    assert shipped.decoder.category_head is not None


def test_data_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data is empty"):
        ship(dataclasses.replace(wanted(tmp_path, "tiny"), data=()))


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.safetensors")
    assert main([missing, "--output", str(tmp_path / "o"), "--licence", "x", "--data", "y"]) == 1
