import pytest
import torch
from torch import nn

from training.config import OptimizerConfig, ScheduleConfig
from training.loop.optimizer import (
    AveragedWeights,
    build_optimizer,
    kind_of,
    optimizer_tensors,
    rate_factor,
    restore_optimizer,
    set_rates,
)


def parameters():
    return {
        "depth.aggregation.levels.8.attention_gate": nn.Parameter(torch.zeros(4)),
        "depth.geometry.backbone.conv.weight": nn.Parameter(torch.ones(4, 3)),
        "depth.decoder.bias": nn.Parameter(torch.ones(4)),
        "pose.head.weight": nn.Parameter(torch.ones(6, 4)),
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("depth.aggregation.levels.8.attention_gate", "gate"),
        ("depth.aggregation.levels.8.feed_forward_gate", "gate"),
        ("depth.geometry.backbone.conv.weight", "backbone"),
        ("depth.decoder.stages.0.before.weight", "common"),
        ("projections.levels.0.weight", "common"),
        ("pose.head.weight", "pose"),
        ("intrinsics.log_focal", "intrinsics"),
    ],
)
def test_each_kind_of_parameter_is_known_by_its_name(name, kind):
    assert kind_of(name) == kind


def test_each_kind_has_its_rate_and_only_matrices_decay():
    config = OptimizerConfig(lr=1.0, backbone_lr=2.0, gate_lr=3.0, pose_lr=4.0, weight_decay=0.5)
    found = {
        (group["lr"], group["weight_decay"]) for group in build_optimizer(parameters(), config).param_groups
    }
    assert found == {(1.0, 0.0), (2.0, 0.5), (3.0, 0.0), (4.0, 0.5)}


def test_rates_rise_linearly_and_fall_as_half_a_cosine():
    config = ScheduleConfig(steps=110, warmup_steps=10, final_factor=0.1)
    assert rate_factor(0, config) == pytest.approx(0.1)
    assert rate_factor(9, config) == pytest.approx(1)
    assert rate_factor(60, config) == pytest.approx(0.55)
    assert rate_factor(110, config) == pytest.approx(0.1)


def test_rates_drop_at_each_milestone():
    config = ScheduleConfig(steps=100, warmup_steps=0, shape="step", final_factor=0.1, milestones=(0.5, 0.8))
    assert [rate_factor(step, config) for step in (49, 50, 80)] == pytest.approx([1, 0.1, 0.01])


def test_a_factor_multiplies_every_groups_own_rate():
    optimizer = build_optimizer(parameters(), OptimizerConfig(lr=1.0, gate_lr=3.0))
    set_rates(optimizer, 0.5)
    set_rates(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} >= {0.5, 1.5}


def test_an_optimizer_restored_from_its_tensors_takes_the_same_next_step():
    first, second = parameters(), parameters()
    one, other = (build_optimizer(each, OptimizerConfig(gate_lr=0.1)) for each in (first, second))

    def step(members, optimizer, value):
        for parameter in members.values():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.step()

    step(first, one, 1.0)
    for name, parameter in second.items():
        parameter.data.copy_(first[name].data)
    restore_optimizer(other, second, {name: t.clone() for name, t in optimizer_tensors(one, first)})
    step(first, one, -0.3)
    step(second, other, -0.3)
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name])


def test_the_average_forgets_the_first_weights_soon_and_then_slowly():
    weights = {"w": nn.Parameter(torch.zeros(1))}
    average = AveragedWeights(weights, decay=0.5)
    weights["w"].data.fill_(1.0)
    average.update(weights, 1)  # decay 2 / 11
    assert average.values["w"].item() == pytest.approx(9 / 11)
    average.update(weights, 1000)  # decay 0.5
    assert average.values["w"].item() == pytest.approx(1 - 1 / 11)


def test_without_decay_the_average_is_the_last_weights():
    weights = {"w": nn.Parameter(torch.zeros(1))}
    average = AveragedWeights(weights, decay=0.0)
    weights["w"].data.fill_(3.0)
    average.update(weights, 1)
    assert average.values["w"].item() == 3


def test_averages_take_the_weights_place_for_a_while_and_give_it_back():
    weights = {"w": nn.Parameter(torch.zeros(1))}
    average = AveragedWeights(weights, decay=0.5)
    weights["w"].data.fill_(1.0)
    with average.swapped(weights):
        assert weights["w"].item() == 0
    assert weights["w"].item() == 1
    assert average.values["w"].item() == 0
