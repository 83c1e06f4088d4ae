"""The lens noted in a checkpoint that stays the same network."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from model.checkpoint import save_checkpoint
from model.metadata import CheckpointMetadata, DepthScale, read_metadata
from tests.model.networks import lively
from training.release.lens import main


def written(folder: Path, scale: DepthScale) -> Path:
    network, path = lively("tiny"), folder / "tiny.safetensors"
    save_checkpoint(path, network, CheckpointMetadata(config=network.config, scale=scale))
    return path


def test_a_lens_is_noted_and_no_weight_is_touched(tmp_path: Path) -> None:
    path = written(tmp_path, DepthScale(unit="metre", metres_per_unit=1.5))
    before = load_file(path)
    assert main([str(path), "--fy-per-height", "1.92"]) == 0
    assert read_metadata(path).scale == DepthScale(unit="metre", metres_per_unit=1.5, fy_per_height=1.92)
    after = load_file(path)
    assert {name: each.tobytes() for name, each in after.items()} == {
        name: each.tobytes() for name, each in before.items()
    }
    assert main([str(path), "--fy-per-height", "None"]) == 0
    assert read_metadata(path).scale.fy_per_height is None


def test_relative_depth_has_no_lens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, DepthScale())
    assert main([str(path), "--fy-per-height", "1.92"]) == 1
    assert "belongs to metres" in caplog.text
