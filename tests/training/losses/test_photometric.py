import pytest
import torch

from training.losses.photometric import PhotometricConfig, PhotometricError, box_mean, pooled_mean

C1, C2 = 1e-4, 9e-4


def flat(value, views=None):
    shape = (1, 3, 5, 6) if views is None else (1, views, 3, 5, 6)
    return torch.full(shape, value, dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_equal_images_have_no_error():
    target = noise(2, 3, 5, 6)
    error = PhotometricError(target, PhotometricConfig())(target[:, None])
    torch.testing.assert_close(error, torch.zeros_like(error), atol=1e-12, rtol=0)


def test_flat_images_differ_by_luminance_and_colour_only():
    # No variance: SSIM = (2ab + C1) / (a^2 + b^2 + C1), and the difference is 0.2.
    ssim = (2 * 0.4 * 0.6 + C1) / (0.4**2 + 0.6**2 + C1)
    error = PhotometricError(flat(0.4), PhotometricConfig())(flat(0.6, views=2))
    expected = 0.85 * (1 - ssim) / 2 + 0.15 * 0.2
    torch.testing.assert_close(error, torch.full((1, 2, 5, 6), expected, dtype=torch.float64))


def test_an_inverted_checkerboard_is_as_unlike_as_can_be():
    board = ((torch.arange(5)[:, None] + torch.arange(6)) % 2).double().expand(1, 3, 5, 6)
    error = PhotometricError(board, PhotometricConfig(structure_share=1.0))(1 - board[:, None])
    # Covariance is minus the variance, and the means differ by 1/9: by hand, for a pixel in the middle.
    mean, other = 5 / 9, 4 / 9
    variance = mean - mean**2
    luminance = (2 * mean * other + C1) / (mean**2 + other**2 + C1)
    structure = (-2 * variance + C2) / (2 * variance + C2)
    assert error[0, 0, 2, 2].item() == pytest.approx((1 - luminance * structure) / 2)


def test_the_error_with_no_structure_is_the_mean_absolute_difference():
    target, other = noise(1, 3, 4, 4), noise(1, 1, 3, 4, 4, seed=1)
    error = PhotometricError(target, PhotometricConfig(structure_share=0.0))(other)
    torch.testing.assert_close(error[:, 0], (target - other[:, 0]).abs().mean(dim=1))


def test_candidates_are_compared_one_by_one():
    target, others = noise(2, 3, 5, 6), noise(2, 3, 3, 5, 6, seed=1)
    compare = PhotometricError(target, PhotometricConfig())
    together = compare(others)
    for view in range(3):
        torch.testing.assert_close(together[:, view : view + 1], compare(others[:, view : view + 1]))


def test_the_box_is_the_mean_of_nine_pixels_reflected_at_the_border():
    image = torch.arange(20, dtype=torch.float64).reshape(4, 5)
    means = box_mean(image)
    assert means[1, 1] == pytest.approx(image[:3, :3].mean().item())
    # Row 0 sees rows 1, 0, 1 and column 0 columns 1, 0, 1: (4 * 6 + 2 * 5 + 2 * 1 + 0) / 9.
    assert means[0, 0] == pytest.approx((4 * 6 + 2 * 5 + 2 * 1 + 0) / 9)


def test_a_gpu_averages_over_the_same_box():
    images = noise(2, 3, 4, 5, 6).requires_grad_()
    torch.testing.assert_close(pooled_mean(images), box_mean(images))
    weights = noise(2, 3, 4, 5, 6, seed=1)
    grads = [
        torch.autograd.grad((mean(images) * weights).sum(), images)[0] for mean in (pooled_mean, box_mean)
    ]
    torch.testing.assert_close(*grads)


def test_the_error_passes_gradcheck():
    compare = PhotometricError(noise(1, 2, 4, 4), PhotometricConfig())
    assert torch.autograd.gradcheck(compare, (noise(1, 2, 2, 4, 4, seed=5).requires_grad_(),))


def test_a_share_outside_0_to_1_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"structure_share is 1\.5"):
        PhotometricConfig(structure_share=1.5)
