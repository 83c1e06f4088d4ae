"""What is learned from predictions that were wrong, on curves that a reader can compute."""

import pytest

from service.scheduling.cost import Cost


def test_between_known_amounts_it_interpolates_and_beyond_them_it_grows_in_proportion() -> None:
    cost = Cost({1: 1.0, 4: 2.5})
    assert [cost.estimate_s(size) for size in (0, 1, 2, 3, 4, 8)] == [1.0, 1.0, 1.5, 2.0, 2.5, 5.0]


def test_batches_below_the_smallest_measured_cost_as_much_as_it() -> None:
    assert Cost({4: 2.0}).estimate_s(1) == 2.0


def test_under_a_load_that_doubles_every_batch_its_predictions_double_at_every_size() -> None:
    cost = Cost({1: 1.0, 4: 2.5})
    for _ in range(100):
        cost.record(4, 5.0)
    assert cost.estimate_s(1) == pytest.approx(2.0, rel=1e-3)
    assert cost.estimate_s(4) == pytest.approx(5.0, rel=1e-3)


def test_where_an_image_costs_the_same_in_every_batch_the_smallest_is_best() -> None:
    assert Cost({1: 1.0, 2: 2.0, 4: 3.9}).best_amount() == 1


def test_where_batches_pay_the_best_is_the_smallest_that_is_nearly_as_cheap_as_any() -> None:
    assert Cost({1: 10.0, 2: 11.0, 4: 12.0, 8: 16.0, 16: 31.0}).best_amount() == 8


@pytest.mark.parametrize("curve_s", [{}, {0: 1.0}, {-1: 1.0, 1: 1.0}, {1: 0.0}, {1: float("nan")}])
def test_a_curve_that_cannot_be_is_refused_by_its_values(curve_s: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="expected positive seconds"):
        Cost(curve_s)


AS_PREDICTED = {1e-9: 1e-9}


def test_at_first_and_as_long_as_they_come_true_predictions_have_a_quarter_to_spare() -> None:
    cost = Cost(AS_PREDICTED)
    assert cost.within_s(2.0) == 2.5
    for _ in range(100):
        cost.record(0.5, 0.5)
    assert cost.within_s(2.0) == pytest.approx(2.5)


def test_where_all_takes_half_as_long_again_all_is_expected_to() -> None:
    cost = Cost(AS_PREDICTED)
    for _ in range(200):
        cost.record(1.0, 1.5)
    assert cost.within_s(2.0) == pytest.approx(3.5, rel=1e-3)


def test_uncertain_predictions_are_reckoned_with_at_their_worst() -> None:
    cost = Cost(AS_PREDICTED)
    for _ in range(100):
        cost.record(1.0, 0.8)
        cost.record(1.0, 1.2)
    assert cost.within_s(1.0) > 1.2


def test_what_is_quicker_than_predicted_is_still_given_its_time() -> None:
    cost = Cost(AS_PREDICTED)
    for _ in range(200):
        cost.record(1.0, 0.1)
    assert cost.within_s(1.0) == pytest.approx(1.25)


def test_a_machine_that_stood_still_once_is_soon_trusted_again() -> None:
    cost = Cost(AS_PREDICTED)
    cost.record(0.1, 60.0)
    assert cost.within_s(0.1) < 0.5
    for _ in range(100):
        cost.record(0.1, 0.1)
    assert cost.within_s(0.1) == pytest.approx(0.125, rel=0.02)


def test_a_prior_that_is_wrong_by_far_is_outgrown() -> None:
    cost = Cost({0.0: 0.0005, 1.0: 0.015})
    for _ in range(40):
        cost.record(0.5, 0.5)
    assert cost.estimate_s(1.0) == pytest.approx(0.97, rel=0.05)


def test_what_is_padded_costs_as_much_as_the_amount_that_it_is_padded_to() -> None:
    cost = Cost({1: 1.0, 4: 2.0, 8: 3.0}, stepwise=True)
    assert [cost.estimate_s(amount) for amount in (1, 2, 4, 5, 8)] == [1.0, 2.0, 2.0, 3.0, 3.0]
    cost.record(5, 6.0)  # twice what was expected of 8
    assert cost.estimate_s(8) == cost.estimate_s(5) == pytest.approx(3.0 * (1 + 1 / 8))
