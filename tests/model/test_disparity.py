import re
from pathlib import Path

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


def test_a_scale_multiplies_depth() -> None:
    assert disparity_to_depth(0.25, scale=5.4) == pytest.approx(21.6)


DIVISION = re.compile(r"\b(1|1\.0|scale) / [\w.\[\]]*(disparity|depth|truth|near|far)")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["model", "service", "training"])
def test_no_other_module_writes_the_division(package: str) -> None:
    """But images.py, which divides in place where it resizes, and renderers, which work in 1/z."""
    written = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name not in {"disparity.py", "images.py"}
        for line in path.read_text().splitlines()
        if DIVISION.search(line) and "inverse_depth" not in line
    ]
    assert not written


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
