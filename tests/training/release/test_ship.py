import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.info import read_info
from model.metadata import Accuracy, CheckpointMetadata, Parent, Provenance
from model.predictor import Predictor
from tests.model.networks import lively
from tests.training.data.fabricated import write_image
from tests.training.worlds import photograph
from training.config import TrainConfig
from training.release.publish import find_parents, publish
from training.release.ship import ShipConfig, main, ship

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


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"metres_per_unit": 1.0, "camera_height_m": 1.4},
            "expected one of metres_per_unit, camera_height_m",
        ),
        ({"camera_height_m": 1.4}, "expected a line of data together with camera_height_m"),
        ({"frames": "video:a.mp4?fov_deg=70"}, "expected a line of data together with camera_height_m"),
    ],
)
def test_metres_are_fitted_by_one_thing_on_frames_that_are_given(tmp_path, changes, complaint):
    config = dataclasses.replace(wanted(tmp_path, "tiny"), **{"metres_per_unit": None, **changes})
    with pytest.raises(ValueError, match=complaint):
        ship(config)


def test_known_distances_make_a_relative_checkpoint_metric(tmp_path):
    for number in range(3):
        write_image(tmp_path / "film" / f"{number}.png", photograph(4.0 * number))
    config = dataclasses.replace(
        wanted(tmp_path, "tiny"),
        metres_per_unit=None,
        frames=f"video:{tmp_path / 'film'}?fov_deg=77",
        known_distance=(("1", 40.0, 30.0, 6.0),),
    )
    scale = ship(config).scale
    predictor = Predictor.from_checkpoint(config.checkpoint)
    [depth] = predictor.predict([photograph(4.0)])
    assert scale.metres_per_unit == pytest.approx(6 / float(np.median(depth[29:32, 39:42])), rel=1e-3)
    assert scale.fy_per_height == pytest.approx(48 / np.tan(np.radians(77 / 2)) / 64, rel=1e-3)


KITTI = "CC BY-NC-SA 3.0 (trained on KITTI): non-commercial"


def child_of_non_commercial_weights(tmp_path: Path) -> ShipConfig:
    config = wanted(tmp_path, "tiny")
    network, metadata = load_checkpoint(config.checkpoint)
    parent = Parent(role="initial", sha256="ab" * 32, licence=KITTI)
    made = dataclasses.replace(metadata.provenance, parents=(parent,))
    save_checkpoint(config.checkpoint, network, dataclasses.replace(metadata, provenance=made))
    return dataclasses.replace(config, licence="my own")


def test_a_licence_that_is_looser_than_a_parent_s_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    config = child_of_non_commercial_weights(tmp_path)
    with pytest.raises(ValueError, match=r"'my own', which leaves out non-commercial and share-alike.*KITTI"):
        ship(config)
    assert not config.output.exists()
    assert ship(dataclasses.replace(config, licence=KITTI)).licence == KITTI


def test_whoever_holds_the_rights_says_so(tmp_path: Path) -> None:
    config = dataclasses.replace(child_of_non_commercial_weights(tmp_path), i_hold_the_rights=True)
    metadata = ship(config)
    assert metadata.licence == "my own"
    assert KITTI in "\n".join(read_info(config.output).lines())


def test_a_run_s_checkpoint_inherits_the_licence_of_what_it_began_from(tmp_path: Path) -> None:
    path = written(tmp_path / "first.safetensors", "tiny")
    network, metadata = load_checkpoint(path)
    save_checkpoint(path, network, dataclasses.replace(metadata, licence=KITTI))
    config = TrainConfig(model=metadata.config, initial=path)
    parents = find_parents(config)
    assert [parent.licence for parent in parents] == [KITTI]
    made = publish(
        tmp_path / "second.safetensors", network, config, data=("a street",), steps=1, hours=0.0,
        scale=metadata.scale, parents=parents,
    )  # fmt: skip
    assert made.licence == KITTI
