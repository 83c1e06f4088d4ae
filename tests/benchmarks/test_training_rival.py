import dataclasses

import pytest
import torch

from benchmarks.training_rival import (
    configured,
    noise_batch,
    our_step,
    plain_error,
    plain_smoothness,
    plain_step,
    plain_warp,
)
from model.config import preset
from training.config import TrainConfig
from training.losses.config import LossesConfig
from training.losses.reprojection import ReprojectionConfig
from training.losses.smoothness import smoothness
from training.networks.pose import rigid
from training.step.assembly import build_networks
from training.step.synthesis import ViewSynthesis


@pytest.fixture
def config() -> TrainConfig:
    return dataclasses.replace(configured("student"), model=preset("tiny"))


def test_the_plain_formulas_and_ours_agree(config: TrainConfig) -> None:
    torch.manual_seed(0)
    batch = noise_batch(config, 2)
    disparity = 0.05 + 0.1 * torch.rand(2, 1, *batch.image.shape[-2:])
    moves = rigid(0.02 * torch.randn(4, 3), 0.2 * torch.randn(4, 3)).reshape(2, 2, 4, 4)
    every_pixel = ReprojectionConfig(automask="none", mask_outside=False)
    ours = ViewSynthesis(batch, moves, batch.intrinsics, LossesConfig(reprojection=every_pixel))(disparity)
    warped = [
        plain_warp(batch.sources[:, view], 1 / disparity, batch.intrinsics, moves[:, view]) for view in (0, 1)
    ]
    plain = torch.cat([plain_error(each, batch.image) for each in warped], 1).min(1).values
    torch.testing.assert_close(ours.explained.error, plain, atol=1e-3, rtol=0)
    rough = smoothness(disparity, batch.image).mean()
    torch.testing.assert_close(plain_smoothness(disparity, batch.image), rough, atol=1e-6, rtol=1e-4)


def test_both_steps_learn_from_the_same_batch(config: TrainConfig) -> None:
    batch = noise_batch(config, 2)
    for make in (plain_step, lambda networks, batch: our_step(networks, batch, config)):
        networks = build_networks(config, torch.device("cpu")).train()
        before = {name: tensor.detach().clone() for name, tensor in networks.trainable().items()}
        step = make(networks, batch)
        assert step() > 0
        changed = {name for name, tensor in networks.trainable().items() if not tensor.equal(before[name])}
        assert any(name.startswith("pose.") for name in changed)
        assert any(name.startswith("depth.") for name in changed)
