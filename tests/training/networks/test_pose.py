import math

import pytest
import torch

from training.geometry import invert_rigid
from training.losses.pose_labels import pose_labels
from training.networks.pose import PoseConfig, PoseNetwork, rigid


def network(seed=0):
    torch.manual_seed(seed)
    return PoseNetwork(PoseConfig(channels=(8, 16), shrink=1, rotation_scale=0.1, translation_scale=0.1))


def test_no_rotation_and_no_translation_is_the_identity():
    torch.testing.assert_close(rigid(torch.zeros(1, 3), torch.zeros(1, 3)), torch.eye(4)[None])


def test_a_quarter_turn_about_the_vertical_axis_turns_right_into_forward():
    pose = rigid(torch.tensor([[0.0, -math.pi / 2, 0.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    moved = pose[0] @ torch.tensor([1.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(moved, torch.tensor([1.0, 2.0, 4.0, 1.0]), atol=1e-6, rtol=0)


def test_rotation_agrees_with_the_matrix_exponential():
    axis = torch.tensor([[0.3, -0.5, 0.2]], dtype=torch.float64)
    x, y, z = axis[0].tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    pose = rigid(axis, torch.zeros(1, 3, dtype=torch.float64))
    torch.testing.assert_close(pose[0, :3, :3], torch.linalg.matrix_exp(cross))


def test_rotation_has_a_gradient_at_rest():
    axis = torch.zeros(1, 3, requires_grad=True)
    rigid(axis, torch.zeros(1, 3))[0, 1, 0].backward()
    assert axis.grad[0, 2].item() == pytest.approx(1)


def test_the_answer_for_an_earlier_source_inverts_that_for_the_same_pair_in_order():
    first, second = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    net = network()
    forward = net(first, second, torch.tensor([False]))
    backward = net(second, first, torch.tensor([True]))
    torch.testing.assert_close(backward, invert_rigid(forward))
    assert (forward - torch.eye(4)).abs().max() > 1e-4


def test_one_pair_does_not_change_the_answer_for_another():
    pairs = torch.rand(2, 2, 3, 32, 32)
    net = network()
    together = net(pairs[0], pairs[1], torch.tensor([False, True]))
    alone = net(pairs[0][:1], pairs[1][:1], torch.tensor([False]))
    torch.testing.assert_close(together[:1], alone)


def test_exact_poses_cost_nothing_and_a_translation_short_by_half_costs_about_a_half():
    known = torch.eye(4).repeat(1, 1, 1, 1)
    known[..., 2, 3] = 0.9
    predicted = known.clone()
    counted = torch.tensor([[True]])
    assert pose_labels(predicted, known, counted).item() == 0
    predicted[..., 2, 3] = 0.4
    assert pose_labels(predicted, known, counted).item() == pytest.approx(0.5 / (0.9 + 0.1))


def test_poses_that_the_data_does_not_know_cost_nothing():
    predicted = torch.rand(2, 1, 4, 4)
    loss = pose_labels(predicted, torch.eye(4).expand(2, 1, 4, 4), torch.tensor([[False], [False]]))
    assert loss.tolist() == [0, 0]


def test_channels_that_groups_cannot_divide_are_refused_by_their_name():
    with pytest.raises(ValueError, match=r"pose\.channels is \(12,\)"):
        PoseConfig(channels=(12,))
