import hashlib

import pytest
import torch

from model.config import preset
from model.metadata import CheckpointError, DepthScale, Parent, read_metadata
from model.network import build
from tests.training.runs import HookedLoader
from tests.training.worlds import HEIGHT, WIDTH, WallWorld, tiny_config
from training.data.augment import NO_AUGMENTATION
from training.data.loader import LoaderConfig
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.publish import find_parents, fit_scale, publish
from training.validation import validate

CPU = torch.device("cpu")


def loader(**world):
    settings = LoaderConfig(
        height=HEIGHT, width=WIDTH, batch_size=3, augment=NO_AUGMENTATION, threads=1, prefetch=1
    )
    return HookedLoader(WallWorld(**world), settings, seed=0)


def student():
    torch.manual_seed(0)
    return build(preset("tiny"), backbone_weights="random").train()


def test_a_network_that_starts_flat_is_right_about_a_wall_but_for_its_scale():
    network = student()
    found = validate(network, loader(), CPU)
    assert found.frames == 8
    assert found.metrics.abs_rel < 0.05
    # 12 m is where depth starts, 6 m where the wall is.
    assert found.scale == pytest.approx(0.5, rel=0.05)
    assert found.scale_spread < 0.05
    assert network.training


def test_the_unit_is_fitted_to_depth_that_was_measured():
    scale = fit_scale(student(), loader(), CPU, LossesConfig(), batches=2)
    assert scale.unit == "metre"
    assert scale.metres_per_unit == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("poses", "synthesis", "labels", "unit"),
    [
        (True, 1.0, 0.0, "metre"),
        (False, 0.0, 1.0, "metre"),
        (False, 1.0, 0.0, "relative"),  # labels are there, and taught nothing
        (True, 0.0, 0.0, "relative"),  # likewise poses
    ],
)
def test_what_taught_in_metres_makes_the_unit_a_metre(poses, synthesis, labels, unit):
    losses = LossesConfig(
        synthesis=SynthesisConfig(weight=synthesis), labels=DepthLabelsConfig(weight=labels)
    )
    scale = fit_scale(student(), loader(labels=True, poses=poses), CPU, losses, batches=1)
    assert (scale.unit, scale.factor) == (unit, 1.0)


def test_who_learned_of_a_teacher_alone_has_the_teacher_s_unit():
    losses = LossesConfig(synthesis=SynthesisConfig(weight=0.0))
    taught_in = DepthScale(unit="metre", metres_per_unit=1.04)
    assert fit_scale(student(), loader(labels=True), CPU, losses, teacher=taught_in, batches=1) == taught_in


def test_what_is_published_says_where_it_comes_from(tmp_path):
    network, config = student(), tiny_config(tmp_path, seed=5)
    path = tmp_path / "student.safetensors"
    scale = fit_scale(network, loader(labels=True), CPU, LossesConfig(), batches=1)
    parents = (Parent(role="initial", sha256="0" * 64),)
    publish(path, network, config, data=("a wall",), steps=7, hours=0.25, scale=scale, parents=parents)
    provenance = read_metadata(path).provenance
    assert (provenance.data, provenance.recipe, provenance.steps, provenance.seed) == (
        ("a wall",),
        "test",
        7,
        5,
    )
    assert provenance.hours == 0.25
    assert len(provenance.commit) in (0, 40)
    assert provenance.parents == parents
    assert read_metadata(path).scale == scale


def test_parents_are_known_by_what_is_in_them(tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"a teacher")
    (parent,) = find_parents(tiny_config(tmp_path, teacher=teacher))
    assert (parent.role, parent.sha256) == ("teacher", hashlib.sha256(b"a teacher").hexdigest())
    teacher.unlink()
    with pytest.raises(CheckpointError, match=r"teacher\.safetensors.*cannot be read"):
        find_parents(tiny_config(tmp_path, teacher=teacher))
