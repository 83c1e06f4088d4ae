import pytest
import torch

from model.config import preset
from model.metadata import read_metadata
from model.network import build
from tests.training.runs import HookedLoader
from tests.training.worlds import HEIGHT, WIDTH, WallWorld, tiny_config
from training.data.augment import NO_AUGMENTATION
from training.data.loader import LoaderConfig
from training.publish import fit_scale, publish
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
    scale = fit_scale(student(), loader(), CPU, batches=2)
    assert scale.unit == "metre"
    assert scale.metres_per_unit == pytest.approx(0.5, rel=0.05)


def test_labels_or_poses_in_metres_make_the_unit_a_metre():
    assert fit_scale(student(), loader(labels=True), CPU, batches=1).metres_per_unit == 1


def test_what_is_published_says_where_it_comes_from(tmp_path):
    network, config = student(), tiny_config(tmp_path, seed=5)
    path = tmp_path / "student.safetensors"
    scale = fit_scale(network, loader(labels=True), CPU, batches=1)
    publish(path, network, config, data=("a wall",), steps=7, hours=0.25, scale=scale)
    provenance = read_metadata(path).provenance
    assert (provenance.data, provenance.recipe, provenance.steps, provenance.seed) == (
        ("a wall",),
        "test",
        7,
        5,
    )
    assert provenance.hours == 0.25
    assert len(provenance.commit) in (0, 40)
    assert read_metadata(path).scale == scale
