import json
import subprocess
import sys

import pytest

from model.checkpoint import save_checkpoint
from model.checksums import file_sha256
from model.info import read_info
from model.metadata import Accuracy, CheckpointMetadata, DepthScale, Parent, Provenance
from tests.model.networks import lively

ACCURACY = Accuracy(
    protocol="kitti_eigen",
    alignment="median",
    data="the Eigen split",
    images=697,
    abs_rel=0.0981,
    sq_rel=0.7,
    rmse=4.4,
    rmse_log=0.18,
    delta1=0.9,
    delta2=0.96,
    delta3=0.98,
)


@pytest.fixture(scope="module")
def student():
    return lively("tiny")


@pytest.fixture
def checkpoint(student, tmp_path):
    path = tmp_path / "student.safetensors"
    metadata = CheckpointMetadata(
        config=student.config,
        scale=DepthScale(unit="metre", metres_per_unit=5.4),
        provenance=Provenance(
            data=("a street", "another street"),
            recipe="distil",
            steps=100,
            seed=7,
            hours=1.5,
            trained_on="2025-11-23",
            parents=(Parent(role="teacher", sha256="ab" * 32),),
        ),
        accuracy=(ACCURACY,),
        licence="CC-BY-NC-4.0",
    )
    save_checkpoint(path, student, metadata, dtype="float16", train_only_heads=False)
    return path


def depth_info(*arguments):
    command = [sys.executable, "-m", "model.info", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_people_read_what_the_checkpoint_is(checkpoint):
    text = depth_info(checkpoint).stdout
    for fact in (
        "tiny: a student on mobilenetv3_small_050, 96x64 px",
        "as float16",
        "without train-only heads",
        "metres: 5.4 m per unit",
        "kitti_eigen, median alignment, 697 images of the Eigen split: AbsRel 0.098, SqRel 0.700",
        "100 steps in 1.5 h, seed 7, ended 2025-11-23",
        "another street",
        f"teacher {'ab' * 32}",
        "CC-BY-NC-4.0",
        file_sha256(checkpoint),
    ):
        assert fact in text


def test_programs_read_the_same_as_json(checkpoint):
    fields = json.loads(depth_info("--json", checkpoint).stdout)
    assert fields["path"] == str(checkpoint)
    assert fields["sha256"] == file_sha256(checkpoint)
    assert fields["metadata"]["accuracy"][0]["abs_rel"] == 0.0981
    assert fields["metadata"]["scale"]["metres_per_unit"] == 5.4
    assert fields["metadata"]["config"]["height"] == 64


def test_the_parameters_are_those_of_the_deployed_network(student, checkpoint):
    assert read_info(checkpoint).parameters == sum(p.numel() for p in student.deployed().parameters())


def test_what_is_not_known_of_a_fresh_network_is_said_or_left_out(student, tmp_path):
    path = tmp_path / "fresh"
    save_checkpoint(path, student, CheckpointMetadata(config=student.config))
    text = "\n".join(read_info(path).lines())
    assert "relative: known up to an unknown factor" in text
    assert "not measured" in text
    assert "none recorded" in text
    assert "commit" not in text


def test_a_teachers_foundation_is_named_with_its_fingerprint(tmp_path):
    teacher, path = lively("tiny-teacher"), tmp_path / "teacher"
    save_checkpoint(path, teacher, CheckpointMetadata(config=teacher.config))
    text = "\n".join(read_info(path).lines())
    assert "test_vit by attention; its weights are not in the file" in text
    assert f"fingerprint {teacher.foundation.fingerprint}" in text


def test_a_file_that_is_no_checkpoint_is_answered_in_one_line(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    done = depth_info(path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"depth-info: {path}: the file is empty\n"
