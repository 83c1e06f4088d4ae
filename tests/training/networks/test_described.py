"""A network of others as a teacher."""

import dataclasses
import json

import pytest
import torch

from model.metadata import CheckpointError
from tests.model.described.standins import write_brightness, write_network
from tests.training.worlds import tiny_config, wall_batch
from training.networks.described import DescribedTeacher, is_described, look_at
from training.networks.teacher import TeacherConfig
from training.step.assembly import build_networks
from training.step.step import training_step

CPU = torch.device("cpu")
KEEPS = TeacherConfig(memory_gib=1.0)


def described(path, **keys):
    said = {"format": "depth-network/1", "size": {"rule": "native"}, **keys}
    path.with_suffix(".depth.json").write_text(json.dumps(said))
    return path


def affine(path, factor=1.0, shift=0.0, **keys):
    output = {"quantity": "disparity", "unit": "affine"}
    return described(write_brightness(path, factor=factor, shift=shift), output=output, **keys)


def asked(path, image, config=KEEPS):
    return DescribedTeacher(path, config, *image.shape[-2:], CPU)(image, None)


def taught(folder, path, **losses):
    """The settings of the tiny student with a teacher and nothing else to learn from, and its networks."""
    config = tiny_config(folder)
    alone = {name: dataclasses.replace(getattr(config.losses, name), weight=0.0) for name in losses["off"]}
    imitation = dataclasses.replace(config.losses.imitation, weight=1.0, gated=losses.get("gated", False))
    chosen = dataclasses.replace(config.losses, **{"imitation": imitation, **alone})
    config = dataclasses.replace(config, teacher=path, losses=chosen)
    return config, build_networks(config, CPU)


OFF = ("synthesis", "smoothness", "category", "feature", "scale")


@pytest.fixture
def image():
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))


def test_a_teacher_says_what_the_network_says_of_the_photograph(tmp_path, image):
    said = asked(affine(tmp_path / "n.onnx", 2.0, 0.5), image)
    bytes_of_it = (image * 255).round() / 255
    torch.testing.assert_close(said.disparity, 2 * bytes_of_it.mean(dim=1, keepdim=True) + 0.5)
    assert said.affine
    assert (said.weight == 1).all()


def test_a_photograph_is_asked_for_once_as_far_as_memory_goes(tmp_path, image):
    path = affine(tmp_path / "n.onnx")
    remembers = DescribedTeacher(path, KEEPS, 24, 32, CPU)
    first = remembers(image, None).disparity
    remembers._running.run = lambda batch: pytest.fail("it was asked again")
    assert torch.equal(remembers(image.flip(0), None).disparity.flip(0), first)


def test_where_it_gives_no_depth_nothing_is_learned(tmp_path, image):
    output = {"quantity": "depth", "unit": "relative"}
    mask = {"tensor": "valid", "threshold": 0.2}
    path = described(write_network(tmp_path / "n.onnx", sides=("valid",)), output=output, mask=mask)
    said = asked(path, image)
    assert 0 < said.weight.mean() < 1
    assert (said.disparity > 0).all()


@pytest.mark.parametrize("sense", ["above", "below"])
def test_confidence_is_the_weight_and_error_its_contrary(tmp_path, image, sense):
    path = write_network(tmp_path / "n.onnx", sides=("sure",))
    described(path, output={"quantity": "depth"}, confidence={"tensor": "sure", "sense": sense})
    weight = asked(path, image).weight
    assert weight.median().item() == pytest.approx(0.5, abs=0.02)
    other = described(path, output={"quantity": "depth"}, confidence={"tensor": "sure"})
    above = asked(other, image).weight
    torch.testing.assert_close(weight, above if sense == "above" else 1 - above, atol=1e-4, rtol=0)


@pytest.mark.parametrize("unit", ["affine", "relative", "metre"])
def test_a_tiny_student_learns_from_a_tiny_network_of_others(tmp_path, unit):
    output = {"quantity": "disparity", "unit": unit}
    path = described(write_brightness(tmp_path / "n.onnx", factor=0.5, shift=0.1), output=output)
    config, networks = taught(tmp_path, path, off=OFF)
    batch, optimizer = wall_batch(), torch.optim.Adam(networks.depth.parameters(), 1e-3)
    losses = []
    for step in range(25):
        result = training_step(networks, batch, config, step)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        losses.append(result.loss.item())
    assert set(result.terms) == {"imitation"}
    assert losses[-1] < 0.6 * losses[0]


def test_an_affine_teacher_teaches_the_same_whatever_its_scale_and_shift(tmp_path):
    found = []
    for name, factor, shift in (("a", 1.0, 0.0), ("b", 7.0, 0.0), ("c", 0.02, 3.0)):
        path = affine(tmp_path / f"{name}.onnx", factor, shift)
        config, networks = taught(tmp_path, path, off=("synthesis", "smoothness", "feature"), gated=True)
        found.append(training_step(networks, wall_batch(), config, 0).terms["imitation"].item())
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-3)


def test_an_affine_teacher_needs_the_loss_that_can_learn_from_it(tmp_path):
    path = affine(tmp_path / "n.onnx")
    with pytest.raises(ValueError, match=r"expected --losses\.imitation\.weight above 0"):
        taught(tmp_path, path, off=(*OFF, "imitation"))
    config = tiny_config(tmp_path)
    scale = dataclasses.replace(config.losses.scale, mode="shared")
    config = dataclasses.replace(config, teacher=path, losses=dataclasses.replace(config.losses, scale=scale))
    with pytest.raises(ValueError, match=r"has no scale to share.*expected --losses\.scale\.mode median"):
        build_networks(config, CPU)


def test_a_teacher_that_cannot_see_the_training_size_is_refused_before_training(tmp_path):
    size = {"rule": "lower", "target": [8], "max_pixels": 100}
    path = described(write_brightness(tmp_path / "n.onnx"), size=size, output={"unit": "relative"})
    with pytest.raises(CheckpointError, match=r"model\.height 24 and model\.width 400.*size\.max_pixels"):
        DescribedTeacher(path, KEEPS, 24, 400, CPU)


def test_a_file_without_a_description_is_refused_as_a_teacher(tmp_path):
    path = write_brightness(tmp_path / "n.onnx")
    assert is_described(path)
    with pytest.raises(CheckpointError, match="no description that can be used"):
        look_at(path)


def test_metres_that_need_a_lens_are_no_metres_for_the_student(tmp_path):
    path = affine(tmp_path / "n.onnx")
    assert look_at(path).scale.affine
    metre = {"output": {"unit": "metre"}, "licence": "CC BY-NC 4.0"}
    assert look_at(described(path, **metre)).scale.metres_per_unit == 1.0
    focal = {"focal": {"rule": "vertical", "reference": 300}}
    said = look_at(described(path, **metre, **focal))
    assert said.scale.unit == "relative"
    assert said.licence == "CC BY-NC 4.0"
