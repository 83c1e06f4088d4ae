import dataclasses
import math

import pytest
import torch

from model.config import preset
from tests.training.worlds import WALL_M, tiny_config, wall_batch
from training.config import OptimizerConfig
from training.loop.optimizer import build_optimizer
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.losses.ground_contact import GroundContactConfig
from training.losses.sky import SkyConfig
from training.losses.smoothness import SmoothnessConfig
from training.networks.pose import PoseConfig
from training.networks.semantics import TokenProbe
from training.networks.teacher import Teacher, TeacherConfig
from training.step.assembly import Frozen, Networks, build_networks
from training.step.step import training_step

CPU = torch.device("cpu")


def setting(tmp_path, **changes):
    config = tiny_config(tmp_path, **changes)
    return config, build_networks(config, CPU).train()


def only(**losses):
    """No loss but those named."""
    quiet = {"synthesis": SynthesisConfig(weight=0.0), "smoothness": SmoothnessConfig(weight=0.0)}
    return LossesConfig(**(quiet | losses))


def distilling(tmp_path, losses):
    """A tiny student and a teacher of the same shape with other weights."""
    config, networks = setting(tmp_path, losses=losses)
    torch.manual_seed(7)
    teacher = build_networks(dataclasses.replace(config, seed=7), CPU).depth.requires_grad_(False)
    return config, Networks(networks.depth, networks.pose, None, None, Frozen(teacher=asked(teacher)))


def asked(network, memory_gib=0.0, features=True):
    return Teacher(network, TeacherConfig(memory_gib=memory_gib), features=features)


def test_the_loss_is_the_sum_of_its_terms(tmp_path):
    config, networks = setting(tmp_path, losses=LossesConfig(labels=DepthLabelsConfig(weight=0.3)))
    result = training_step(networks, wall_batch(labels=True), config, 0)
    assert set(result.terms) == {"photometric", "smoothness", "labels"}
    assert result.loss.item() == pytest.approx(sum(term.item() for term in result.terms.values()), rel=1e-5)


def test_a_joint_batch_costs_the_mean_of_its_halves(tmp_path):
    config, networks = setting(tmp_path)
    both = wall_batch(2)
    halves = [
        dataclasses.replace(
            both,
            keys=both.keys[i : i + 1],
            **{
                field.name: getattr(both, field.name)[i : i + 1]
                for field in dataclasses.fields(both)
                if isinstance(getattr(both, field.name), torch.Tensor)
            },
        )
        for i in range(2)
    ]
    losses = [training_step(networks, half, config, 0).loss.item() for half in halves]
    assert training_step(networks, both, config, 0).loss.item() == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


def test_a_network_trained_on_the_walls_views_finds_its_distance_in_metres(tmp_path):
    rates = OptimizerConfig(lr=2e-3, backbone_lr=2e-3)
    config, networks = setting(tmp_path, optimizer=rates)
    optimizer = build_optimizer(networks.trainable(), config.optimizer)
    batch = wall_batch(2)
    for step in range(60):
        optimizer.zero_grad()
        training_step(networks, batch, config, step).loss.backward()
        optimizer.step()
    depth = 1 / networks.depth(batch.image).disparity
    assert depth.median().item() == pytest.approx(WALL_M, rel=0.1)


def test_known_poses_need_no_pose_network(tmp_path):
    config, networks = setting(tmp_path)
    training_step(networks, wall_batch(), config, 0).loss.backward()
    assert all(parameter.grad is None for parameter in networks.pose.parameters())


def test_unknown_poses_are_asked_of_the_pose_network(tmp_path):
    config, networks = setting(tmp_path)
    training_step(networks, wall_batch(poses=False), config, 0).loss.backward()
    assert all(parameter.grad is not None for parameter in networks.pose.parameters())


def test_known_poses_teach_the_pose_network_where_supervision_is_on(tmp_path):
    config, networks = setting(tmp_path, pose=PoseConfig(channels=(8,), supervision=1.0), losses=only())
    result = training_step(networks, wall_batch(), config, 0)
    # At first the network answers almost no motion; a move of 0.4 m then costs 0.4 / 0.5.
    assert result.terms["pose"].item() == pytest.approx(0.8, abs=0.05)


def test_until_depth_is_sane_unknown_poses_teach_the_pose_alone(tmp_path):
    pose = PoseConfig(channels=(8,), supervision=0.0, depth_first_steps=10)
    config, networks = setting(tmp_path, pose=pose)
    training_step(networks, wall_batch(poses=False), config, 9).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in networks.depth.parameters())
    training_step(networks, wall_batch(poses=False), config, 10).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in networks.depth.parameters())


def test_labels_are_ignored_where_depth_is_no_label(tmp_path):
    config, networks = setting(tmp_path, losses=only(labels=DepthLabelsConfig(weight=1.0)))
    assert training_step(networks, wall_batch(labels=False), config, 0).loss.item() == 0


@pytest.mark.parametrize("name", ["scale", "category", "imitation"])
def test_each_alignment_can_be_switched_off_alone(tmp_path, name):
    full = LossesConfig()
    config, networks = distilling(tmp_path, full)
    everything = training_step(networks, wall_batch(), config, 0)
    weightless = dataclasses.replace(getattr(full, name), weight=0.0)
    without = dataclasses.replace(config, losses=dataclasses.replace(full, **{name: weightless}))
    rest = training_step(networks, wall_batch(), without, 0)
    assert set(everything.terms) - set(rest.terms) == {name}


def test_the_teacher_is_asked_and_never_taught(tmp_path):
    config, networks = distilling(tmp_path, LossesConfig())
    training_step(networks, wall_batch(), config, 0).loss.backward()
    assert all(p.grad is None for p in networks.frozen.teacher.network.parameters())
    assert not any("teacher" in name for name in networks.state_dict())


def test_a_student_equal_to_its_teacher_has_nothing_to_imitate(tmp_path):
    config, networks = distilling(tmp_path, only())
    twin = Networks(networks.depth, networks.pose, None, None, Frozen(teacher=asked(networks.depth)))
    result = training_step(twin, wall_batch(), config, 0)
    assert result.terms["scale"].item() == 0
    assert result.terms["imitation"].item() == 0


def test_detail_gives_pictures_and_the_error_of_depth(tmp_path):
    config, networks = setting(tmp_path)
    plain = training_step(networks, wall_batch(), config, 0)
    detailed = training_step(networks, wall_batch(), config, 0, detail=True)
    assert plain.pictures is None
    assert not plain.watched
    assert detailed.pictures.disparity.shape == (1, 64, 96)
    # Depth starts at 12 everywhere: median-scaled it is right, and the true scale is a half.
    assert detailed.watched["abs_rel"].item() < 0.05
    assert detailed.watched["scale"].item() == pytest.approx(0.5, rel=0.05)


def test_half_precision_changes_the_loss_by_little(tmp_path):
    config, networks = setting(tmp_path)
    half = dataclasses.replace(config, precision="bfloat16")
    loss = training_step(networks, wall_batch(), config, 0).loss.item()
    assert training_step(networks, wall_batch(), half, 0).loss.item() == pytest.approx(loss, rel=0.05)


def test_a_teacher_learns_with_tokens_that_are_computed_in_the_step(tmp_path):
    config, networks = setting(tmp_path, model=preset("tiny-teacher"))
    training_step(networks, wall_batch(), config, 0).loss.backward()
    gates = [p for name, p in networks.named_parameters() if name.endswith("_gate")]
    assert gates
    assert all(gate.grad is not None and gate.grad.any() for gate in gates)
    assert all(p.grad is None for p in networks.depth.foundation.parameters())


class Halves(TokenProbe):
    """Takes the upper half of every image for sky, and the lower for road with a vehicle in its first row."""

    def __init__(self):
        super().__init__(preset("teacher").foundation, "", 4)

    def forward(self, tokens):
        def rows(*shares):
            return torch.tensor(shares)[None, None, :, None].expand(len(tokens[0]), 1, 4, 6)

        return {
            "sky": rows(1.0, 1.0, 0.0, 0.0),
            "vehicle": rows(0.0, 0.0, 1.0, 0.0),
            "road": rows(0.0, 0.0, 0.0, 1.0),
        }


def guarded(tmp_path, losses):
    """A tiny student, and someone who tells sky, road and vehicles."""
    config, networks = setting(tmp_path)
    config = dataclasses.replace(config, losses=losses)
    batch = dataclasses.replace(wall_batch(), tokens=tuple(torch.zeros(2, 4, 4, 6) for _ in range(4)))
    return config, Networks(networks.depth, networks.pose, frozen=Frozen(probe=Halves())), batch


def test_sky_is_pushed_away_and_left_out_of_view_synthesis(tmp_path):
    config, networks, batch = guarded(tmp_path, only(sky=SkyConfig(weight=1.0)))
    # Depth starts at 12, the farthest is 100, and five eighths of the rows blend to at least 0.9.
    loss = training_step(networks, batch, config, 0).terms["sky"].item()
    assert loss == pytest.approx(0.44 * math.log(100 / 12), rel=0.1)
    seen = dataclasses.replace(config, losses=LossesConfig(sky=SkyConfig(weight=1.0)))
    all_of_it = dataclasses.replace(config, losses=LossesConfig())
    with_sky = training_step(networks, batch, all_of_it, 0).terms["photometric"].item()
    assert training_step(networks, batch, seen, 0).terms["photometric"].item() < 0.75 * with_sky


def test_until_depth_is_sane_no_guard_moves_it_either(tmp_path):
    guards = only(sky=SkyConfig(weight=1.0), contact=GroundContactConfig(weight=1.0))
    config, networks, batch = guarded(tmp_path, guards)
    pose = dataclasses.replace(config.pose, depth_first_steps=10)
    batch = dataclasses.replace(batch, pose_known=torch.zeros_like(batch.pose_known))
    config = dataclasses.replace(config, pose=pose)
    training_step(networks, batch, config, 9).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in networks.depth.parameters())
    training_step(networks, batch, config, 10).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in networks.depth.parameters())


def test_a_vehicle_no_farther_than_its_road_costs_nothing(tmp_path):
    config, networks, batch = guarded(tmp_path, only(contact=GroundContactConfig(weight=1.0)))
    assert training_step(networks, batch, config, 0).terms["contact"].item() == 0
