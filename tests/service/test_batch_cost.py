"""Prediction of batch times, on curves that a reader can compute."""

import pytest

from service.batch_cost import BatchCost


def test_between_measured_sizes_it_interpolates_and_beyond_them_it_grows_in_proportion() -> None:
    cost = BatchCost({1: 1.0, 4: 2.5})
    assert [cost.estimate_s(size) for size in (0, 1, 2, 3, 4, 8)] == [0.0, 1.0, 1.5, 2.0, 2.5, 5.0]


def test_batches_below_the_smallest_measured_cost_as_much_as_it() -> None:
    assert BatchCost({4: 2.0}).estimate_s(1) == 2.0


def test_under_a_load_that_doubles_every_batch_its_predictions_double_at_every_size() -> None:
    cost = BatchCost({1: 1.0, 4: 2.5})
    for _ in range(100):
        cost.record(4, 5.0)
    assert cost.estimate_s(1) == pytest.approx(2.0, rel=1e-3)
    assert cost.estimate_s(4) == pytest.approx(5.0, rel=1e-3)


def test_where_an_image_costs_the_same_in_every_batch_the_smallest_is_best() -> None:
    assert BatchCost({1: 1.0, 2: 2.0, 4: 3.9}).best_size() == 1


def test_where_batches_pay_the_best_is_the_smallest_that_is_nearly_as_cheap_as_any() -> None:
    assert BatchCost({1: 10.0, 2: 11.0, 4: 12.0, 8: 16.0, 16: 31.0}).best_size() == 8


@pytest.mark.parametrize("curve_s", [{}, {0: 1.0}, {1: 0.0}, {1: float("nan")}])
def test_a_curve_that_cannot_be_is_refused_by_its_values(curve_s: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="expected positive seconds"):
        BatchCost(curve_s)
