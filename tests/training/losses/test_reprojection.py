import pytest
import torch

from training.losses.reprojection import ReprojectionConfig, minimum, moves


def errors(*values):
    """One sample, one pixel, a view for each value."""
    return torch.tensor(values)[None, :, None, None]


def flags(*values):
    return torch.tensor(values)[None, :, None, None]


def test_a_pixel_hidden_in_one_view_is_explained_by_the_other():
    explained = minimum(errors(0.9, 0.1), flags(True, True))
    assert explained.error.item() == pytest.approx(0.1)


def test_a_view_that_may_not_be_compared_is_passed_over():
    explained = minimum(errors(0.9, 0.1), flags(True, False))
    assert explained.error.item() == pytest.approx(0.9)


def test_a_pixel_without_views_costs_nothing_and_passes_no_gradient():
    error = errors(0.9, 0.1).requires_grad_()
    explained = minimum(error, flags(False, False))
    explained.loss.sum().backward()
    assert explained.error.item() == 0
    assert not explained.counted.any()
    assert error.grad.tolist() == torch.zeros_like(error).tolist()


def test_gradient_goes_to_the_best_view_only():
    error = errors(0.3, 0.2).requires_grad_()
    minimum(error, flags(True, True)).loss.sum().backward()
    assert error.grad.flatten().tolist() == [0, 1]


def test_the_loss_is_the_mean_over_all_pixels_those_that_say_nothing_counting_0():
    error = torch.tensor([0.4, 0.8]).reshape(1, 1, 1, 2)
    usable = torch.tensor([True, False]).reshape(1, 1, 1, 2)
    assert minimum(error, usable).loss.item() == pytest.approx(0.2)


def test_a_pixel_that_looks_the_same_through_time_is_masked():
    # A car at our own speed: unwarped it fits perfectly.
    passes = moves(errors(0.0, 0.02), errors(0.1, 0.1), torch.tensor([[True, True]]), 1e-5)
    assert not passes.any()


def test_a_pixel_that_moves_passes():
    passes = moves(errors(0.3, 0.2), errors(0.1, 0.25), torch.tensor([[True, True]]), 1e-5)
    assert passes.flatten().tolist() == [True, False]


def test_a_tie_is_masked():
    passes = moves(errors(0.2), errors(0.2), torch.tensor([[True]]), 1e-5)
    assert not passes.any()


def test_the_stereo_view_is_never_masked_and_never_masks():
    # Unwarped, the stereo view fits best; it is not through time, so the moving view passes all the same.
    passes = moves(errors(0.3, 0.0), errors(0.1, 0.2), torch.tensor([[True, False]]), 1e-5)
    assert passes.flatten().tolist() == [True, True]


def test_a_negative_margin_is_refused_by_its_name():
    with pytest.raises(ValueError, match="automask_margin is -1"):
        ReprojectionConfig(automask_margin=-1.0)
