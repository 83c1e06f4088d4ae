from collections import Counter

import pytest

from training.data.order import SampleOrder


def test_every_sample_comes_once_an_epoch_in_another_order_each_time():
    order = SampleOrder([7], None, seed=1)
    epochs = [[order.at(epoch * 7 + place) for place in range(7)] for epoch in range(3)]
    for number, epoch in enumerate(epochs):
        assert sorted(turn.index for turn in epoch) == list(range(7))
        assert {turn.epoch for turn in epoch} == {number}
    assert [turn.index for turn in epochs[0]] != [turn.index for turn in epochs[1]]


def test_a_position_says_the_same_whatever_was_asked_before():
    first, second = SampleOrder([50], None, seed=3), SampleOrder([50], None, seed=3)
    forwards = [first.at(position) for position in range(200)]
    assert [second.at(position) for position in reversed(range(200))] == forwards[::-1]


def test_another_seed_gives_another_order():
    first, second = SampleOrder([50], None, seed=3), SampleOrder([50], None, seed=4)
    assert [first.at(p).index for p in range(50)] != [second.at(p).index for p in range(50)]


def test_weights_hold_in_each_thousand_and_each_part_is_gone_through_evenly():
    order = SampleOrder([100, 10], [3.0, 1.0], seed=0)
    counts = Counter(order.at(position).index for position in range(2000))
    small = [counts[index] for index in range(100, 110)]
    assert sum(small) == 500
    assert set(small) == {50}
    assert {counts[index] for index in range(100)} == {15}


def test_the_same_sample_is_changed_differently_in_each_epoch():
    order = SampleOrder([1], None, seed=0)
    draws = [order.changes(order.at(position)).random() for position in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected 2 positive numbers"):
        SampleOrder([5, 5], [1.0], seed=0)
    with pytest.raises(ValueError, match="at least one sample in each"):
        SampleOrder([5, 0], None, seed=0)
