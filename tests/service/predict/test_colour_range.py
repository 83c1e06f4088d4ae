import numpy as np
import pytest

from service.contract.request import Colour
from service.predict.colour_range import ColourRange


def flat(depth: float) -> np.ndarray:
    return np.full((8, 8), depth, np.float32)


def test_the_first_frame_sets_the_range() -> None:
    depth = np.linspace(2, 10, 64 * 64, dtype=np.float32).reshape(64, 64)
    colour = ColourRange(Colour(map="gray")).of(depth)
    assert colour.map == "gray"
    assert (colour.near, colour.far) == (pytest.approx(2, rel=0.1), pytest.approx(10, rel=0.1))


def test_one_frame_moves_the_range_a_twentieth_of_the_way() -> None:
    ends = ColourRange(Colour())
    ends.of(flat(1.0))
    assert ends.of(flat(np.e)).near == pytest.approx(np.exp(0.05))


def test_given_ends_never_move() -> None:
    ends = ColourRange(Colour(near=1.0, far=5.0))
    assert [ends.of(flat(depth)) for depth in (2.0, 40.0)] == [Colour(near=1.0, far=5.0)] * 2


@pytest.mark.parametrize("given", [Colour(near=50.0), Colour(far=0.5), Colour()])
def test_a_scene_outside_of_a_given_end_still_has_a_range(given: Colour) -> None:
    colour = ColourRange(given).of(flat(3.0))
    assert colour.near is not None
    assert colour.far is not None
    assert colour.near < colour.far
    assert given.near in (None, colour.near)
    assert given.far in (None, colour.far)
