import copy
import json
import signal
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import (
    METADATA_KEY,
    CheckpointError,
    CheckpointMetadata,
    DepthScale,
    Provenance,
    Storage,
    read_metadata,
)
from tests.model.networks import lively

IMAGE = torch.linspace(0, 1, 3 * 64 * 96).reshape(1, 3, 64, 96)


@pytest.fixture(scope="module")
def student():
    return lively("tiny")


@pytest.fixture(scope="module")
def teacher():
    return lively("tiny-teacher")


def description(network):
    return CheckpointMetadata(
        config=network.config,
        scale=DepthScale(unit="metre", metres_per_unit=2.0),
        provenance=Provenance(data=("a street",), steps=3),
        licence="Apache-2.0",
    )


@pytest.fixture
def saved(student, tmp_path):
    path = tmp_path / "student.safetensors"
    save_checkpoint(path, student, description(student))
    return path


def rewritten(path, change=lambda weights: None, describe=lambda fields: None):
    """Save a checkpoint again with its weights or its description changed, as a whole safetensors file."""
    fields = json.loads(read_metadata(path).to_json())
    weights = load_file(path)
    change(weights)
    describe(fields)
    save_file(weights, path, metadata={METADATA_KEY: json.dumps(fields)})
    return path


def problem(path, **options):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, **options)
    assert caught.value.path == path
    return caught.value.problem


@torch.no_grad()
def same(one, other):
    return torch.equal(one(IMAGE).disparity, other(IMAGE).disparity)


def test_a_student_comes_back_equal_to_the_last_bit_with_its_description(student, saved):
    loaded, metadata = load_checkpoint(saved)
    assert replace(metadata, golden=None) == description(student)
    assert not loaded.training
    for name, tensor in student.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert same(loaded, student)


def test_loading_does_not_depend_on_the_state_of_the_random_generator(student, saved):
    torch.manual_seed(99)
    assert same(load_checkpoint(saved)[0], student)


def test_the_description_that_was_written_is_returned(student, tmp_path):
    path = tmp_path / "half"
    written = save_checkpoint(path, student, description(student), dtype="float16", train_only_heads=False)
    assert replace(written, golden=None) == replace(
        description(student), storage=Storage(dtype="float16", train_only_heads=False, foundation=False)
    )
    assert read_metadata(path) == written


def test_half_precision_halves_the_kernels_and_leaves_vectors_as_they_were(student, tmp_path):
    save_checkpoint(tmp_path / "full", student, description(student))
    save_checkpoint(tmp_path / "half", student, description(student), dtype="float16")
    loaded, _ = load_checkpoint(tmp_path / "half")
    for name, tensor in student.state_dict().items():
        stored = tensor.half().float() if tensor.ndim > 1 else tensor
        assert torch.equal(loaded.state_dict()[name], stored), name
    assert (tmp_path / "half").stat().st_size < 0.65 * (tmp_path / "full").stat().st_size


def test_a_student_saved_without_train_only_heads_is_smaller_and_predicts_the_same(student, saved, tmp_path):
    path = tmp_path / "deployed"
    save_checkpoint(path, student, description(student), train_only_heads=False)
    loaded, _ = load_checkpoint(path)
    assert same(loaded, student)
    names = set(load_file(path))
    assert names < set(load_file(saved))
    assert not [name for name in names if "category_head" in name or "disparity_heads.2" in name]
    assert student.decoder.category_head is not None, "saving must not change the network itself"


def test_a_network_in_training_is_saved_without_being_disturbed(tmp_path):
    network = lively("tiny").train()
    network(IMAGE.expand(2, -1, -1, -1)).disparity.mean().backward()
    save_checkpoint(tmp_path / "a", network, description(network), train_only_heads=False)
    assert network.training
    assert any(parameter.grad is not None for parameter in network.parameters())


def test_a_teacher_leaves_its_foundation_weights_out_and_finds_them_by_fingerprint(teacher, tmp_path):
    path, foundation = tmp_path / "teacher", tmp_path / "vit.safetensors"
    save_file(teacher.foundation.vit.state_dict(), foundation)
    written = save_checkpoint(path, teacher, description(teacher))
    assert not [name for name in load_file(path) if name.startswith("foundation.")]
    assert written.foundation_sha256 == teacher.foundation.fingerprint
    loaded, metadata = load_checkpoint(path, foundation_weights=foundation)
    assert metadata == written
    assert same(loaded, teacher)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_teacher_that_holds_its_foundation_weights_needs_no_other_file(teacher, tmp_path, dtype):
    path = tmp_path / "teacher"
    save_checkpoint(path, teacher, description(teacher), foundation=True, dtype=dtype)
    loaded, metadata = load_checkpoint(path)
    assert loaded.foundation.fingerprint == teacher.foundation.fingerprint
    assert same(loaded, teacher) == (dtype == "float32")
    assert metadata.storage.foundation


def test_other_foundation_weights_than_those_of_training_are_refused(teacher, tmp_path):
    path = tmp_path / "teacher"
    save_checkpoint(path, teacher, description(teacher))
    assert "was trained with foundation weights of fingerprint" in problem(path, foundation_weights="random")


def test_foundation_weights_that_cannot_be_had_are_named(teacher, tmp_path):
    path = tmp_path / "teacher"
    save_checkpoint(path, teacher, description(teacher))
    assert "none.safetensors" in problem(path, foundation_weights=tmp_path / "none.safetensors")


def test_a_missing_file_is_an_error_of_the_one_class(tmp_path):
    assert "No such file" in problem(tmp_path / "none.safetensors")


def test_the_same_network_gives_the_same_file(student, saved, tmp_path):
    whole = saved.read_bytes()
    for _ in range(4):
        save_checkpoint(tmp_path / "again", student, description(student))
        assert (tmp_path / "again").read_bytes() == whole


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a"
    path.touch()
    assert problem(path) == "the file is empty"


def test_a_file_cut_anywhere_is_refused(saved):
    whole = saved.read_bytes()
    for share in (0.0001, 0.01, 0.3, 0.9):
        saved.write_bytes(whole[: int(len(whole) * share)])
        assert "damaged, or not a safetensors file" in problem(saved)
    saved.write_bytes(whole[:-1])
    assert "damaged, or not a safetensors file" in problem(saved)


def test_a_file_with_something_behind_its_end_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"x")
    assert "damaged, or not a safetensors file" in problem(saved)


def test_a_pickle_is_refused_and_not_opened(student, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(student.state_dict(), path)
    assert "not a safetensors file" in problem(path)


def test_weights_without_a_description_are_refused(student, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(student.state_dict(), path)
    assert "not a checkpoint of ours" in problem(path)


def test_a_newer_version_is_refused(saved):
    rewritten(saved, describe=lambda fields: fields.update(format_version=3))
    assert "newer than this program" in problem(saved)


def test_a_damaged_description_is_refused(saved):
    save_file(load_file(saved), saved, metadata={METADATA_KEY: '{"format_version": 1'})
    assert "its description is damaged" in problem(saved)


def test_missing_and_extra_tensors_are_counted_and_named(saved):
    whole = saved.read_bytes()
    rewritten(saved, lambda weights: weights.pop("decoder.disparity_heads.1.weight"))
    assert "1 tensors that its configuration needs are missing" in problem(saved)
    assert "'decoder.disparity_heads.1.weight'" in problem(saved)
    saved.write_bytes(whole)
    rewritten(saved, lambda weights: weights.update(colour=torch.ones(1)))
    assert "1 tensors do not belong to its configuration, such as 'colour'" in problem(saved)


def test_a_configuration_that_is_not_the_one_of_the_weights_is_refused(saved):
    rewritten(saved, describe=lambda fields: fields["config"].update(decoder_channels=[16, 16, 8, 8, 4]))
    assert "its configuration needs" in problem(saved)


def test_a_configuration_that_nothing_can_be_built_from_is_refused(saved):
    rewritten(saved, describe=lambda fields: fields["config"].update(backbone="hf-hub:somebody/something"))
    assert "cannot be built: timm has no model 'hf-hub:somebody/something'" in problem(saved)


def test_a_configuration_too_large_for_the_machine_is_refused(saved):
    rewritten(saved, describe=lambda fields: fields["config"].update(decoder_channels=[10**9] * 5))
    assert "cannot be built" in problem(saved)


def test_a_wrong_shape_is_named_with_the_right_one(saved):
    rewritten(saved, lambda weights: weights.update({"decoder.disparity_heads.1.bias": torch.ones(2)}))
    says = problem(saved)
    assert "'decoder.disparity_heads.1.bias' has the shape (2,); its configuration needs (1,)" in says


def test_a_dtype_other_than_the_described_is_refused(saved):
    name = "decoder.disparity_heads.1.weight"
    whole = saved.read_bytes()
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int32):
        rewritten(saved, lambda weights, dtype=dtype: weights.update({name: weights[name].to(dtype)}))
        assert f"{name!r} is of {dtype}; its description says torch.float32" in problem(saved)
        saved.write_bytes(whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_on_the_way_in_and_on_the_way_out(student, saved, value):
    name = "decoder.disparity_heads.1.bias"
    before = saved.read_bytes()
    broken = copy.deepcopy(student)
    with torch.no_grad():
        broken.decoder.disparity_heads["1"].bias.fill_(value)
    with pytest.raises(ValueError, match=name):
        save_checkpoint(saved, broken, description(broken))
    assert saved.read_bytes() == before
    rewritten(saved, lambda weights: weights[name].fill_(value))
    assert problem(saved) == f"{name!r} holds NaN or infinity"


def test_a_weight_that_leaves_the_range_of_half_precision_is_not_written(student, tmp_path):
    network = copy.deepcopy(student)
    with torch.no_grad():
        network.decoder.disparity_heads["1"].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match="as float16"):
        save_checkpoint(tmp_path / "a", network, description(network), dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_a_description_of_another_network_is_not_written(student, teacher, tmp_path):
    with pytest.raises(ValueError, match="configuration is not the network's"):
        save_checkpoint(tmp_path / "a", student, description(teacher))


def test_saving_leaves_one_file_with_ordinary_permissions_in_a_folder_made_for_it(student, tmp_path):
    path = tmp_path / "new" / "folder" / "a.safetensors"
    for _ in range(2):
        save_checkpoint(path, student, description(student))
    assert list(path.parent.iterdir()) == [path]
    reference = tmp_path / "ordinary"
    reference.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from model.checkpoint import load_checkpoint, save_checkpoint

network, metadata = load_checkpoint(Path(sys.argv[1]))
for parameter in network.parameters():
    parameter.data.zero_()
# os.replace announces itself just before it acts: the new file is written, the old one still in its place.
sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
save_checkpoint(Path(sys.argv[1]), network, metadata)
"""


def test_a_kill_between_write_and_rename_leaves_the_old_checkpoint_whole(student, saved):
    before = saved.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, saved], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = [path for path in saved.parent.iterdir() if path != saved]
    assert len(left) == 1
    assert left[0].name.startswith(".student.safetensors.")
    assert left[0].name.endswith(".partial")
    assert saved.read_bytes() == before
    assert same(load_checkpoint(saved)[0], student)


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(student, saved):
    before = saved.read_bytes()
    metadata = replace(description(student), provenance=Provenance(hours=float("inf")))
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(saved, student, metadata)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
