"""Metres from points whose depth is known."""

import numpy as np
import pytest

from service.codec.points import POINT_ERROR, fit_points
from service.contract.errors import InvalidArgument

DEPTH_M = np.array([4.0, 7.0, 12.0, 20.0, 33.0])


def test_points_that_agree_give_their_scale() -> None:
    fit = fit_points(3.0 / DEPTH_M, DEPTH_M, affine=False)
    assert (fit.scale, fit.shift) == (pytest.approx(1 / 3), 0.0)
    assert (fit.points, fit.agreeing, fit.residual) == (5, 5, pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("wrong", range(5))
@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_one_wrong_point_of_five_moves_the_scale_by_little(wrong: int, factor: float) -> None:
    told = DEPTH_M.copy()
    told[wrong] *= factor
    fit = fit_points(3.0 / DEPTH_M, told, affine=False)
    assert fit.scale == pytest.approx(1 / 3, rel=0.08)
    assert fit.agreeing == 4


def test_a_checkpoint_s_own_metres_count_as_one_more_point() -> None:
    told = DEPTH_M[:2] * (4.0, 1.0)  # which of the two is wrong?
    alone = fit_points(1.0 / DEPTH_M[:2], told, affine=False)
    helped = fit_points(1.0 / DEPTH_M[:2], told, affine=False, usual_metres_per_unit=1.0)
    assert abs(np.log(helped.scale)) < 0.2 < abs(np.log(alone.scale))


def test_many_points_outweigh_a_checkpoint_s_own_metres() -> None:
    depth_m = np.linspace(3, 40, 60)
    fit = fit_points(1.0 / depth_m, 2 * depth_m, affine=False, usual_metres_per_unit=1.0)
    assert fit.scale == pytest.approx(0.5, rel=0.01)


def noisy_affine(count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    depth_m = random.uniform(3, 40, count)
    disparity = (0.6 / depth_m + shift) * np.exp(random.normal(0, 0.03, count))
    return disparity, depth_m


def test_a_shift_of_disparity_is_taken_where_held_out_points_prove_it() -> None:
    disparity, depth_m = noisy_affine(20, shift=0.05)
    fit = fit_points(disparity, depth_m, affine=False)
    assert fit.shift == pytest.approx(-0.05 / 0.6, rel=0.2)
    assert fit.residual < 0.06


def test_no_shift_is_taken_where_nothing_proves_it() -> None:
    for count in (3, 5, 20, 200):
        assert fit_points(*noisy_affine(count, shift=0.0), affine=False).shift == 0


def test_an_affine_network_needs_two_points_at_different_depths() -> None:
    for depth_m in (np.array([5.0]), np.array([5.0, 5.0])):
        with pytest.raises(InvalidArgument, match="expected at least two points at different depths"):
            fit_points(1 / depth_m, depth_m, affine=True)
    disparity = 0.6 / DEPTH_M + 0.05
    fit = fit_points(disparity, DEPTH_M, affine=True)
    np.testing.assert_allclose(1 / (fit.scale * disparity + fit.shift), DEPTH_M, rtol=1e-6)


def test_a_wrong_point_does_not_bend_an_affine_fit() -> None:
    disparity, depth_m = noisy_affine(12, shift=0.05)
    depth_m[4] *= 6
    fit = fit_points(disparity, depth_m, affine=True)
    assert fit.shift == pytest.approx(-0.05 / 0.6, rel=0.25)
    assert fit.agreeing == 11


@pytest.mark.parametrize("count", [2, 5, 20])
def test_the_uncertainty_is_about_one_standard_error(count: int) -> None:
    random, near = np.random.default_rng(0), []
    for _ in range(300):
        depth_m = random.uniform(5, 40, count)
        errors = POINT_ERROR * np.sqrt(depth_m / np.median(depth_m))
        fit = fit_points(np.exp(random.normal(0, errors)) / depth_m, depth_m, affine=False)
        near.append(abs(np.log(fit.scale)) < fit.uncertainty)
    assert 0.55 < np.mean(near) < 0.85
