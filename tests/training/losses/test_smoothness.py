import math

import pytest
import torch

from training.losses.smoothness import smoothness


def ramp(width=5, height=4):
    """Disparity 1 ... width along the columns: its mean is (width + 1) / 2."""
    return torch.arange(1.0, width + 1).expand(1, 1, height, width)


def test_a_constant_is_smooth():
    assert smoothness(torch.full((1, 1, 4, 5), 3.0), torch.rand(1, 3, 4, 5)).item() == 0


def test_a_ramp_over_a_flat_image_costs_its_slope_over_its_mean():
    assert smoothness(ramp(), torch.zeros(1, 3, 4, 5)).item() == pytest.approx(1 / 3)


def test_the_scale_of_disparity_does_not_matter():
    image = torch.rand(1, 3, 4, 5)
    assert smoothness(ramp() * 7, image).item() == pytest.approx(smoothness(ramp(), image).item(), rel=1e-4)


def test_an_edge_in_the_image_makes_a_step_cheaper_by_e_to_the_minus_contrast():
    step = torch.tensor([1.0, 1.0, 3.0, 3.0]).expand(1, 1, 4, 4)
    image = torch.tensor([0.0, 0.0, 0.5, 0.5]).expand(1, 3, 4, 4)
    free = smoothness(step, torch.zeros(1, 3, 4, 4)).item()
    assert smoothness(step, image).item() == pytest.approx(free * math.exp(-0.5))


def test_samples_are_counted_apart():
    both = torch.cat((ramp(), torch.ones(1, 1, 4, 5)))
    assert smoothness(both, torch.zeros(2, 3, 4, 5)).tolist() == pytest.approx([1 / 3, 0])
