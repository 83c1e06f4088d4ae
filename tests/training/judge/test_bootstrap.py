"""Intervals of means against the theory that they must agree with."""

import numpy as np
import pytest

from training.judge.bootstrap import BootstrapConfig, intervals, set_weights


def column(values: np.ndarray) -> np.ndarray:
    return values[:, None].astype(np.float64)


def test_equal_images_leave_no_doubt():
    [found] = intervals(np.full((10, 1), 0.25), BootstrapConfig(resamples=50))
    assert (found.low, found.high) == (0.25, 0.25)


def test_the_interval_is_that_of_the_normal_distribution_for_many_images():
    values = np.random.default_rng(1).normal(size=400)
    [found] = intervals(column(values), BootstrapConfig(resamples=4000))
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_more_confidence_needs_a_wider_interval():
    values = column(np.arange(30.0))
    [wide] = intervals(values, BootstrapConfig(confidence=0.99))
    [narrow] = intervals(values, BootstrapConfig(confidence=0.5))
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high


def test_blocks_see_that_neighbouring_frames_repeat_each_other():
    # 20 scenes of 20 equal frames each: 400 images that say no more than 20 do.
    scenes = np.random.default_rng(2).normal(size=20)
    frames = column(np.repeat(scenes, 20))
    [naive] = intervals(frames, BootstrapConfig())
    [blocks] = intervals(frames, BootstrapConfig(block=20))
    half = 1.96 * scenes.std() / np.sqrt(20)
    assert (naive.high - naive.low) / 2 == pytest.approx(half / np.sqrt(20), rel=0.1)
    assert (blocks.high - blocks.low) / 2 > 3 * (naive.high - naive.low) / 2


def test_a_block_of_all_images_draws_all_images():
    values = column(np.arange(7.0))
    [found] = intervals(values, BootstrapConfig(block=7, resamples=20))
    assert found.low == found.high == pytest.approx(3.0)


def test_columns_are_drawn_together_and_bounded_apart():
    values = np.stack([np.arange(50.0), 10 * np.arange(50.0)], axis=1)
    first, second = intervals(values, BootstrapConfig(resamples=700))
    assert second.low == pytest.approx(10 * first.low)
    assert second.high == pytest.approx(10 * first.high)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = column(np.arange(30.0) ** 2)
    assert intervals(values, BootstrapConfig(seed=3)) == intervals(values, BootstrapConfig(seed=3))
    assert intervals(values, BootstrapConfig(seed=3)) != intervals(values, BootstrapConfig(seed=4))


def test_more_images_in_a_block_than_there_are_is_refused():
    with pytest.raises(ValueError, match="block is 3 and there are 2 images"):
        intervals(np.zeros((2, 1)), BootstrapConfig(block=3))
    with pytest.raises(ValueError, match="0 images"):
        intervals(np.zeros((0, 1)), BootstrapConfig())


@pytest.mark.parametrize(
    ("field", "value"), [("resamples", 0), ("confidence", 1.0), ("confidence", 0.0), ("block", 0)]
)
def test_a_bad_configuration_names_its_field(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        BootstrapConfig(**{field: value})


def test_sets_count_the_same_however_many_images_they_have():
    values = column(np.array([1.0] * 90 + [3.0] * 10))
    assert (values[:, 0] * set_weights([90, 10])).mean() == pytest.approx(2.0)
    [found] = intervals(values, BootstrapConfig(), [90, 10])
    assert (found.low, found.high) == pytest.approx((2.0, 2.0))


def test_blocks_do_not_run_from_one_set_into_the_next():
    values = column(np.array([0.0] * 10 + [1.0] * 10))
    [found] = intervals(values, BootstrapConfig(block=10), [10, 10])
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    with pytest.raises(ValueError, match="block is 11 and there are 10 images"):
        intervals(values, BootstrapConfig(block=11), [10, 10])
