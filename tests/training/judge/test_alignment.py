"""Alignments against closed forms, and against numpy's own least squares."""

import numpy as np
import pytest

from training.judge.alignment import SENTENCES, Fit, fit, median_ratio

FAR = (1e-3, 80.0)


def pixels(*depths: float) -> np.ndarray:
    return np.array(depths, np.float32)


def test_medians_find_the_scale_of_a_prediction_that_is_right_up_to_scale():
    truth = pixels(2, 5, 10, 40)
    found = fit(3.0 / truth, truth, "median", None)
    assert found.shift == 0.0
    assert found.depth_m(3.0 / truth, FAR) == pytest.approx(truth, rel=1e-6)


def test_medians_are_taken_of_depth_and_not_of_disparity():
    truth, depth = pixels(2, 4, 6, 8), pixels(1, 2, 6, 7)
    # The median of an even number of depths is the mean of the middle two, 4; of their disparities it is 1/3.
    assert median_ratio(1 / depth, truth) == pytest.approx(5.0 / 4.0)


def test_one_wild_pixel_does_not_move_the_median_scale():
    truth = pixels(2, 5, 10, 20, 40)
    depth = pixels(2, 5, 10, 20, 4000)
    assert fit(1 / depth, truth, "median", None).scale == pytest.approx(1.0)


def test_least_squares_recover_scale_and_shift_of_disparity():
    truth = pixels(2, 5, 10, 40)
    found = fit(((1 / truth) - 0.01) / 0.3, truth, "least_squares", None)
    assert found.scale == pytest.approx(0.3, rel=1e-5)
    assert found.shift == pytest.approx(0.01, rel=1e-4)


def test_least_squares_agree_with_numpys_solver():
    generator = np.random.default_rng(0)
    truth = generator.uniform(2, 60, 500).astype(np.float32)
    disparity = (0.7 / truth + generator.uniform(0, 0.1, 500)).astype(np.float32)
    columns = np.stack([disparity, np.ones_like(disparity)], axis=1).astype(np.float64)
    scale, shift = np.linalg.lstsq(columns, 1.0 / truth.astype(np.float64), rcond=None)[0]
    found = fit(disparity, truth, "least_squares", None)
    assert (found.scale, found.shift) == pytest.approx((scale, shift), rel=1e-9)


def test_least_squares_answer_a_flat_prediction_with_the_mean_disparity():
    truth = pixels(2, 4)
    found = fit(np.full(2, 0.1, np.float32), truth, "least_squares", None)
    assert found.depth_m(np.full(2, 0.1, np.float32), FAR) == pytest.approx(1 / np.mean([1 / 2, 1 / 4]))


def test_what_least_squares_push_past_infinity_is_as_far_as_the_clamp():
    assert Fit(scale=1.0, shift=-1.0).depth_m(pixels(0.5, 1.0, 1.5), FAR) == pytest.approx([80, 80, 2])


def test_nothing_is_aligned_where_metres_are_judged():
    truth = pixels(2, 5, 10)
    found = fit(1 / truth, truth, "none", 1.5)
    assert found.depth_m(1 / truth, FAR) == pytest.approx(1.5 * truth)


def test_metres_cannot_be_judged_where_the_unit_is_not_known():
    with pytest.raises(ValueError, match="relative"):
        fit(pixels(1.0), pixels(1.0), "none", None)


def test_depth_is_clamped_after_it_was_scaled():
    truth = pixels(20, 20, 20)
    found = fit(1 / pixels(1, 1, 10), truth, "median", None)
    assert found.depth_m(1 / pixels(1e-6, 1, 10), FAR) == pytest.approx([1e-3, 20, 80])


def test_every_alignment_can_be_named_beside_a_number():
    assert set(SENTENCES) == {"median", "least_squares", "none"}
