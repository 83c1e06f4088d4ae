"""Losses that hold depth to what semantics and labels know."""

import math

import pytest
import torch

from training.losses.averages import gradient_mismatch, masked_mean
from training.losses.depth_labels import DepthLabelsConfig, depth_labels
from training.losses.ground_contact import GroundContactConfig, contact_log_depth, ground_contact
from training.losses.sky import SkyConfig, sky, sky_weights

YES = torch.tensor([True])


def test_exact_labels_cost_nothing():
    depth = torch.rand(1, 1, 4, 4) * 10 + 1
    assert depth_labels(1 / depth, depth, YES, DepthLabelsConfig()).item() == pytest.approx(0, abs=1e-6)


def test_depth_wrong_by_a_factor_costs_its_logarithm():
    depth = torch.full((1, 1, 4, 4), 5.0)
    loss = depth_labels(1 / (2 * depth), depth, YES, DepthLabelsConfig(gradient_weight=0))
    assert loss.item() == pytest.approx(math.log(2))


def test_depth_once_medians_agree_does_not_mind_an_image_s_scale():
    truth = torch.linspace(2, 40, 96).reshape(1, 1, 8, 12)
    config = DepthLabelsConfig(gradient_weight=0, aligned_weight=3)
    plain = DepthLabelsConfig(gradient_weight=0)
    assert depth_labels(1 / (2 * truth), truth, YES, config).item() == pytest.approx(math.log(2), rel=1e-4)
    bent = truth**1.2
    assert depth_labels(1 / bent, truth, YES, config) > depth_labels(1 / bent, truth, YES, plain)


def test_medians_are_those_of_labelled_pixels_only():
    truth = torch.cat([torch.full((1, 1, 8, 8), 5.0), torch.zeros(1, 1, 8, 8)], dim=-1)
    depth = torch.cat([torch.full((1, 1, 8, 8), 5.0), torch.full((1, 1, 8, 8), 70.0)], dim=-1)
    config = DepthLabelsConfig(gradient_weight=0, aligned_weight=1)
    assert depth_labels(1 / depth, truth, YES, config).item() == pytest.approx(0, abs=1e-6)


def test_an_image_that_is_right_but_for_its_median_learns_there():
    """Where near and far are right and the middle is not, median scaling would make all of it wrong."""
    truth = torch.cat([torch.full((40,), 5.0), torch.full((20,), 10.0), torch.full((40,), 30.0)])
    depth = torch.cat([truth[:40], torch.full((20,), 8.0), truth[60:]]).reshape(1, 1, 10, 10).requires_grad_()
    config = DepthLabelsConfig(gradient_weight=0, aligned_weight=1)
    loss = depth_labels(1 / depth, truth.reshape(1, 1, 10, 10), YES, config)
    assert loss.item() == pytest.approx(0.2 * math.log(10 / 8) + 0.8 * math.log(10 / 8), rel=1e-4)
    loss.sum().backward()
    assert (depth.grad.flatten()[40:60] < 0).all()


def test_pixels_without_measurement_and_samples_without_labels_count_for_nothing():
    depth = torch.tensor([0.0, 5.0])[None, None, None].expand(2, 1, 1, 2)
    loss = depth_labels(
        torch.full((2, 1, 1, 2), 0.1), depth, torch.tensor([True, False]), DepthLabelsConfig()
    )
    assert loss.tolist() == pytest.approx([math.log(2), 0])


def test_a_sample_without_any_measurement_gives_no_nan():
    disparity = torch.full((1, 1, 4, 4), 0.1, requires_grad=True)
    loss = depth_labels(disparity, torch.zeros(1, 1, 4, 4), YES, DepthLabelsConfig(aligned_weight=1))
    loss.sum().backward()
    assert loss.item() == 0
    assert disparity.grad.abs().sum() == 0


def test_gradients_are_matched_between_known_neighbours_only():
    difference = torch.tensor([0.0, 9.0, 1.0, 2.0])[None, None, None]
    known = torch.tensor([True, False, True, True])[None, None, None]
    assert gradient_mismatch(difference, known, 1).item() == 1


def test_the_mean_over_an_empty_mask_is_0():
    assert masked_mean(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.bool)).item() == 0


def test_sky_at_the_farthest_depth_costs_nothing_and_nearer_sky_its_logarithm():
    weights = torch.tensor([1.0, 0.0])[None, None, None]
    far = torch.tensor([1 / 100, 1 / 5])[None, None, None]
    near = torch.tensor([1 / 25, 1 / 5])[None, None, None]
    assert sky(far, weights, 100.0).item() == pytest.approx(0, abs=1e-6)
    assert sky(near, weights, 100.0).item() == pytest.approx(math.log(4) / 2)


def test_only_tokens_that_are_surely_sky_count():
    probability = torch.tensor([[0.95, 0.5], [0.95, 0.5]])[None, None]
    weights = sky_weights(probability, 2, 2, SkyConfig(confidence=0.9))
    assert weights[0, 0].tolist() == [[pytest.approx(0.95), 0], [pytest.approx(0.95), 0]]


def test_the_contact_is_the_nearest_road_below():
    log_depth = torch.tensor([9.0, 8.0, 3.0, 2.0])[None, :, None]
    road = torch.tensor([False, False, True, True])[None, :, None]
    contact, known = contact_log_depth(log_depth, road)
    assert contact.flatten().tolist() == [3, 3, 2, 0]
    assert known.flatten().tolist() == [True, True, True, False]


def contact_loss(vehicle_depth, *, explained=False, vehicle=1.0, margin=0.2):
    """One column of three cells: a vehicle, the road at 10 m beneath it, the road at 5 m."""
    disparity = 1 / torch.tensor([vehicle_depth, 10.0, 5.0])[None, None, :, None]
    is_vehicle = torch.tensor([vehicle, 0.0, 0.0])[None, None, :, None]
    is_road = torch.tensor([0.0, 1.0, 1.0])[None, None, :, None]
    evidence = torch.full((1, 1, 3, 1), explained)
    config = GroundContactConfig(weight=1.0, margin=margin)
    return ground_contact(disparity, is_vehicle, is_road, evidence, config).item()


def test_a_hole_in_a_vehicle_costs_how_far_it_lies_behind_its_contact():
    assert contact_loss(80.0) == pytest.approx((math.log(8) - 0.2) / 3)


def test_a_vehicle_at_its_contact_or_nearer_costs_nothing():
    assert contact_loss(10.5) == 0
    assert contact_loss(4.0) == 0


def test_a_vehicle_whose_motion_is_explained_is_left_alone():
    assert contact_loss(80.0, explained=True) == 0


def test_what_is_no_vehicle_may_be_as_far_as_it_likes():
    assert contact_loss(80.0, vehicle=0.3) == 0
