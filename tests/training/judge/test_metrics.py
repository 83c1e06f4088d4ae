"""The seven numbers: hand-computed cases, and plain loops that share no code with them."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.judge.metrics import NAMES, Metrics, mean, measure

depths = st.floats(0.01, 200.0)


def by_loops(truth: list[float], depth: list[float], log_base: float) -> dict[str, float]:
    """Each formula as the papers print it, a pixel at a time."""
    n, sums = len(truth), dict.fromkeys(NAMES, 0.0)
    for y, p in zip(truth, depth, strict=True):
        sums["abs_rel"] += abs(p - y) / y
        sums["sq_rel"] += (p - y) ** 2 / y
        sums["rmse"] += (p - y) ** 2
        sums["rmse_log"] += (math.log(p, log_base) - math.log(y, log_base)) ** 2
        for power in (1, 2, 3):
            bound = 1.25**power
            sums[f"delta{power}"] += 1.0 if p / y < bound and y / p < bound else 0.0
    means = {name: total / n for name, total in sums.items()}
    return means | {name: math.sqrt(means[name]) for name in ("rmse", "rmse_log")}


def test_a_hand_computed_case():
    truth, depth = np.array([2.0, 4.0, 10.0, 8.0]), np.array([1.0, 5.0, 10.0, 8.0 * 1.5])
    found = measure(truth, depth)
    assert found.abs_rel == pytest.approx((0.5 + 0.25 + 0.0 + 0.5) / 4)
    assert found.sq_rel == pytest.approx((0.5 + 0.25 + 0.0 + 2.0) / 4)
    assert found.rmse == pytest.approx(math.sqrt((1 + 1 + 0 + 16) / 4))
    assert found.rmse_log == pytest.approx(
        math.sqrt((math.log(2) ** 2 + math.log(1.25) ** 2 + math.log(1.5) ** 2) / 4)
    )
    # Factors 2, 1.25, 1, 1.5, of which 1.25 is not below 1.25, 1.5 is below 1.5625, 2 is not below 1.953.
    assert (found.delta1, found.delta2, found.delta3) == (0.25, 0.75, 0.75)


def test_a_perfect_prediction_has_no_error():
    truth = np.array([0.5, 3.0, 79.9])
    assert astuple(measure(truth, truth)) == (0, 0, 0, 0, 1, 1, 1)


def test_errors_are_relative_to_the_truth_and_not_to_the_prediction():
    assert measure(np.array([10.0]), np.array([20.0])).abs_rel == pytest.approx(1.0)
    assert measure(np.array([20.0]), np.array([10.0])).abs_rel == pytest.approx(0.5)


def test_base_10_shrinks_the_logarithmic_error_alone():
    truth, depth = np.array([1.0, 1.0]), np.array([10.0, 1.0])
    natural, base_10 = measure(truth, depth), measure(truth, depth, log_base="10")
    assert base_10.rmse_log == pytest.approx(math.sqrt(0.5))
    assert natural.rmse_log == pytest.approx(math.log(10) * math.sqrt(0.5))
    assert base_10.abs_rel == natural.abs_rel
    assert base_10.delta3 == natural.delta3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(depths, depths), min_size=1, max_size=40), st.sampled_from(["natural", "10"]))
def test_each_formula_agrees_with_plain_loops(pairs, log_base):
    truth, depth = (list(side) for side in zip(*pairs, strict=True))
    found = measure(np.array(truth), np.array(depth), log_base=log_base)
    expected = by_loops(truth, depth, math.e if log_base == "natural" else 10.0)
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


def test_float32_maps_are_measured_in_double_precision():
    truth = np.full(1_000_000, 0.1, np.float32)
    assert measure(truth, truth * np.float32(2)).rmse == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_images_count_the_same_however_many_pixels_they_have():
    sparse = measure(np.array([1.0]), np.array([2.0]))
    dense = measure(np.ones(999), np.ones(999))
    assert mean([sparse, dense]).abs_rel == pytest.approx(0.5)
    assert mean([sparse]) == sparse


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_depth_that_is_not_positive_and_finite_is_refused(bad):
    good = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="depth lies between"):
        measure(good, np.array([1.0, bad]))
    with pytest.raises(ValueError, match="truth lies between"):
        measure(np.array([1.0, bad]), good)


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="no pixels"):
        measure(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="no images"):
        mean([])


def test_the_names_are_in_the_order_of_the_tables():
    assert NAMES == ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")
    assert Metrics(abs_rel=1, sq_rel=2, rmse=3, rmse_log=4, delta1=5, delta2=6, delta3=7).delta3 == 7
