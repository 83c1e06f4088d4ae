import numpy as np
import pytest
import torch

from model.disparity import (
    depth_to_disparity,
    disparity_to_depth,
    disparity_to_sigmoid,
    sigmoid_to_disparity,
)


def test_a_depth_of_four_is_a_disparity_of_a_quarter() -> None:
    assert depth_to_disparity(4.0) == 0.25
    assert disparity_to_depth(0.25) == 4.0


def test_arrays_and_tensors_give_the_same_values() -> None:
    disparity = np.array([0.02, 0.5, 8.0], dtype=np.float32)
    assert np.array_equal(
        disparity_to_depth(torch.from_numpy(disparity)).numpy(), disparity_to_depth(disparity)
    )


def test_a_sigmoid_of_zero_is_the_farthest_depth_and_of_one_the_nearest() -> None:
    assert sigmoid_to_disparity(0.0, 0.1, 100.0) == pytest.approx(1 / 100)
    assert sigmoid_to_disparity(1.0, 0.1, 100.0) == pytest.approx(1 / 0.1)


@pytest.mark.parametrize("sigmoid", [0.0, 0.003, 0.5, 1.0])
def test_disparity_to_sigmoid_inverts_sigmoid_to_disparity(sigmoid: float) -> None:
    assert disparity_to_sigmoid(sigmoid_to_disparity(sigmoid, 0.1, 80.0), 0.1, 80.0) == pytest.approx(sigmoid)
