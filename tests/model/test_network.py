from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

import model as contract
from model.config import ModelConfig, preset
from model.images import resize_image, to_model_batch
from model.network import FOUNDATION_PREFIX, StudentNet, TeacherNet, build
from tests.assets import shared


def random_network(config: ModelConfig) -> TeacherNet | StudentNet:
    torch.manual_seed(0)
    return build(config, foundation_weights="random", backbone_weights="random")


def test_the_contract_names_only_what_can_be_had() -> None:
    assert contract.__all__ == sorted(contract.__all__)
    assert all(getattr(contract, name).__name__ == name for name in contract.__all__)
    with pytest.raises(AttributeError, match="no attribute 'resnet'"):
        contract.resnet  # noqa: B018


@pytest.mark.parametrize("name", ["tiny", "tiny-teacher"])
def test_a_network_answers_disparity_at_four_scales_and_features_to_imitate(name: str) -> None:
    config = preset(name)
    output = random_network(config)(torch.rand(2, 3, 64, 96))
    assert [tuple(d.shape) for d in output.disparities] == [(2, 1, 64 >> s, 96 >> s) for s in range(4)]
    assert [tuple(f.shape[2:]) for f in output.features] == [(4, 6), (8, 12), (16, 24)]
    assert output.category_logits is not None
    assert tuple(output.category_logits.shape) == (2, 8, 16, 24)
    for disparity in output.disparities:
        assert disparity.min() > 1 / config.max_depth
        assert disparity.max() < 1 / config.min_depth


@pytest.mark.parametrize("size", [(192, 640), (320, 1024), (32, 32), (96, 160)])
def test_any_multiple_of_32_will_do(size: tuple[int, int]) -> None:
    network = random_network(preset("tiny-teacher")).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).disparity.shape[2:] == size


def test_another_size_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="image is 100x64; expected sides that are multiples of 32"):
        random_network(preset("tiny"))(torch.rand(1, 3, 64, 100))


def test_before_training_the_teacher_is_the_plain_depth_network() -> None:
    """Zero gates: with the plain network's weights, the teacher gives its answers to the last bit."""
    teacher = cast(TeacherNet, random_network(preset("tiny-teacher")))
    plain = random_network(replace(preset("tiny-teacher"), aggregation="none", foundation=None))
    shared_weights = plain.state_dict()
    assert set(shared_weights) < set(teacher.state_dict())
    teacher.load_state_dict(shared_weights, strict=False)
    image = torch.rand(2, 3, 64, 96)
    teacher_output, plain_output = teacher(image), plain(image)
    for fused, alone in zip(teacher_output.disparities, plain_output.disparities, strict=True):
        assert torch.equal(fused, alone)


def test_tokens_known_already_give_the_same_answer() -> None:
    teacher = cast(TeacherNet, random_network(preset("tiny-teacher"))).eval()
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if "gate" in name:
                parameter.fill_(0.5)
        image = torch.rand(1, 3, 64, 96)
        assert teacher.foundation is not None
        tokens = teacher.foundation(image)
        assert torch.equal(teacher(image, tokens).disparity, teacher(image).disparity)


def test_the_foundation_model_is_not_trainable_and_is_recognised_by_its_prefix() -> None:
    teacher = random_network(preset("tiny-teacher"))
    trainable = [name for name, parameter in teacher.named_parameters() if parameter.requires_grad]
    frozen = [name for name, parameter in teacher.named_parameters() if not parameter.requires_grad]
    assert frozen
    assert all(name.startswith(FOUNDATION_PREFIX) for name in frozen)
    assert not any(name.startswith(FOUNDATION_PREFIX) for name in trainable)


@pytest.mark.parametrize("name", ["tiny", "tiny-teacher"])
def test_deployed_it_gives_the_same_disparity_without_the_heads_of_training(name: str) -> None:
    network = random_network(preset(name)).eval()
    deployed = network.deployed()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(deployed(image), network(image).disparity[:, 0], rtol=1e-5, atol=1e-7)
    heads = [key for key in deployed.state_dict() if "category" in key or "disparity_heads" in key]
    assert heads
    assert all("disparity_heads.1." in key for key in heads)
    assert network.decoder.category_head is not None


def test_the_student_is_small_enough() -> None:
    """At most 3.1 million parameters and 5 GMAC at 640x192, as deployed."""
    from torch.utils.flop_counter import FlopCounterMode

    deployed = random_network(preset("student")).deployed()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deployed(torch.rand(1, 3, 192, 640))
    assert sum(parameter.numel() for parameter in deployed.parameters()) <= 3.1e6
    assert counter.get_total_flops() / 2 <= 5e9


def test_a_new_network_sees_a_street_twelve_units_deep() -> None:
    with torch.no_grad():
        depth = 1 / random_network(preset("tiny"))(torch.rand(1, 3, 64, 96)).disparity
    assert depth.median() == pytest.approx(12, rel=0.1)


@pytest.mark.parametrize("frame", ["kitti_odometry/sequences/04/image_2/000000.jpg"])
def test_the_teacher_runs_on_a_real_frame_with_real_weights(frame: str) -> None:
    photograph = shared(f"data/{frame}")
    teacher = build(
        preset("teacher"),
        foundation_weights=shared("weights/dinov2_vits14_fp16.safetensors"),
        backbone_weights=shared("weights/mobilenetv2_100_imagenet_fp16.safetensors"),
    ).eval()
    pixels = resize_image(read(photograph), 192, 640)
    with torch.no_grad():
        disparity = teacher(torch.from_numpy(to_model_batch([pixels], 192, 640))).disparity
    assert disparity.shape == (1, 1, 192, 640)
    assert torch.isfinite(disparity).all()


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))
