import pytest
import torch

from model.config import preset
from model.geometry import GeometricEncoder
from model.weights import WeightsError

TINY = preset("tiny")


def test_the_pyramid_has_each_stride_down_to_two() -> None:
    encoder = GeometricEncoder(TINY, "random")
    pyramid = encoder(torch.rand(1, 3, 64, 96))
    assert {
        stride: (64 // features.shape[2], 96 // features.shape[3]) for stride, features in pyramid.items()
    } == {stride: (stride, stride) for stride in (2, 4, 8, 16, 32)}
    assert {stride: features.shape[1] for stride, features in pyramid.items()} == encoder.channels


def test_batch_statistics_stay_when_training() -> None:
    encoder = GeometricEncoder(TINY, "random").train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder(torch.rand(4, 3, 64, 96))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert encoder.training


def test_a_backbone_that_stops_short_of_stride_32_is_refused() -> None:
    config = preset("tiny", backbone="vit_tiny_patch16_224")
    with pytest.raises(WeightsError, match=r"has strides .*; it lacks"):
        GeometricEncoder(config, "random")


def test_normalisation_is_no_part_of_the_weights() -> None:
    assert not [key for key in GeometricEncoder(TINY, "random").state_dict() if "normalise" in key]
