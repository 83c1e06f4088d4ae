from pathlib import Path

import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import CheckpointMetadata
from tests.model.networks import lively
from training.release.average import AverageConfig, average, main


def moved(path: Path, name: str, by: float, *, heads: bool = True) -> Path:
    """The lively network with every weight moved."""
    network = lively(name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by)
    save_checkpoint(path, network, CheckpointMetadata(config=network.config), train_only_heads=heads)
    return path


def test_weights_are_the_mean_by_shares(tmp_path: Path) -> None:
    one, other = (
        moved(tmp_path / "1.safetensors", "tiny", 0.0),
        moved(tmp_path / "2.safetensors", "tiny", 0.003),
    )
    average(AverageConfig(checkpoints=(one, other), shares=(2.0, 1.0), output=tmp_path / "mean.safetensors"))
    mean, _ = load_checkpoint(tmp_path / "mean.safetensors")
    first, _ = load_checkpoint(one)
    for after, before in zip(mean.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.001)


def test_what_one_lacks_comes_from_the_first(tmp_path: Path) -> None:
    one = moved(tmp_path / "1.safetensors", "tiny", 0.0)
    other = moved(tmp_path / "2.safetensors", "tiny", 0.003, heads=False)
    average(AverageConfig(checkpoints=(one, other), output=tmp_path / "mean.safetensors"))
    mean, first = (load_checkpoint(path)[0] for path in (tmp_path / "mean.safetensors", one))
    assert mean.decoder.category_head is not None
    assert torch.equal(mean.decoder.category_head.weight, first.decoder.category_head.weight)
    head = mean.decoder.disparity_heads["1"].weight
    torch.testing.assert_close(head, first.decoder.disparity_heads["1"].weight + 0.0015)


@pytest.mark.parametrize("more", [[], ["--shares", "1"], ["--shares", "1", "0"]])
def test_too_few_checkpoints_or_other_shares_are_refused(tmp_path: Path, caplog, more: list[str]) -> None:
    paths = [str(moved(tmp_path / "1.safetensors", "tiny", 0.0))] * (2 if more else 1)
    assert main([*paths, *more, "--output", str(tmp_path / "mean.safetensors")]) == 1
    assert "expected two or more, and a positive share each" in caplog.text
    assert not (tmp_path / "mean.safetensors").exists()


def test_another_network_is_refused_by_its_name(tmp_path: Path, caplog) -> None:
    one, other = (
        moved(tmp_path / "1.safetensors", "tiny", 0.0),
        moved(tmp_path / "2.safetensors", "student", 0.0),
    )
    arguments = [
        str(one),
        str(other),
        "--foundation-weights",
        "random",
        "--output",
        str(tmp_path / "mean.safetensors"),
    ]
    assert main(arguments) == 1
    assert str(other) in caplog.text
    assert "expected the network of" in caplog.text
