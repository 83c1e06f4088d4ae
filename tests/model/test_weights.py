import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.config import preset
from model.network import build
from model.weights import WeightsError, create_with_weights, weights_sha256
from tests.assets import shared


def test_a_local_file_fills_the_network_whatever_its_precision(tmp_path: Path) -> None:
    original = create_with_weights("test_vit", "random", num_classes=0)
    save_file(
        {key: value.half() for key, value in original.state_dict().items()}, tmp_path / "vit.safetensors"
    )
    filled = create_with_weights("test_vit", tmp_path / "vit.safetensors", num_classes=0)
    assert weights_sha256(filled) == weights_sha256(original)
    assert next(filled.parameters()).dtype == torch.float32


def test_the_hash_changes_with_any_weight() -> None:
    network = create_with_weights("test_vit", "random", num_classes=0)
    before = weights_sha256(network)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    assert weights_sha256(network) != before


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(WeightsError, match="timm has no model 'vit_enormous'"):
        create_with_weights("vit_enormous", "random")


def test_a_path_that_is_only_a_string_is_refused_instead_of_leaving_the_weights_random() -> None:
    # As users call it: without the check of types at run time that tests add.
    untyped = inspect.unwrap(create_with_weights)
    with pytest.raises(WeightsError, match=r"are 'weights/vit\.safetensors'; expected 'hub', 'random' or a"):
        untyped("test_vit", "weights/vit.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        create_with_weights("test_vit", tmp_path / "nowhere.safetensors")


def test_a_file_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    save_file({"cls_token": torch.zeros(1, 1, 64)}, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match="lacks"):
        create_with_weights("test_vit", tmp_path / "part.safetensors")


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = create_with_weights("test_vit", "random", num_classes=0).state_dict()
    save_file(state | {"cls_token": torch.zeros(1, 1, 65)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"cls_token has shape \(1, 1, 65\)"):
        create_with_weights("test_vit", tmp_path / "other.safetensors", num_classes=0)


def test_something_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").write_text("not weights")
    with pytest.raises(WeightsError, match=r"cannot read weights"):
        create_with_weights("test_vit", tmp_path / "notes.safetensors")


def test_imagenet_weights_without_their_classifier_fill_a_feature_backbone() -> None:
    path = shared("weights/mobilenetv2_100_imagenet_fp16.safetensors")
    random = create_with_weights("mobilenetv2_100", "random", features_only=True, pad_type="same")
    filled = create_with_weights("mobilenetv2_100", path, features_only=True, pad_type="same")
    assert weights_sha256(filled) != weights_sha256(random)


def test_a_hub_that_is_away_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"test_vit.*127\.0\.0\.1:9 cannot be reached.*pass its path"):
        create_with_weights("test_vit", "hub")
    assert "fetching the weights of test_vit" in caplog.text


def test_a_teacher_without_its_foundation_model_s_weights_says_what_names_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"--foundation-weights.*DEPTH_FOUNDATION_WEIGHTS"):
        build(preset("teacher"), backbone_weights="random")
    assert "--foundation-weights" in caplog.text
    with pytest.raises(WeightsError, match="--backbone-weights"):
        build(preset("student"))


def test_what_the_hub_gave_before_is_used_without_asking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = create_with_weights("test_vit", "random")
    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(original.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert weights_sha256(create_with_weights("test_vit", "hub")) == weights_sha256(original)
