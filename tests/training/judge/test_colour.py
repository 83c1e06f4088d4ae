"""Colours whose lightness can be measured."""

import numpy as np
import pytest

from training.judge.colour import MISSING, colour_depth, colour_values, table


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours: another measure of lightness than the one they were made by."""
    share = colours.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_rises_all_the_way_and_nearly_evenly():
    rise = np.diff(lightness(table())[::15])
    assert (rise > 0).all()
    assert rise.max() < 2.2 * rise.min()


def test_the_ends_are_dark_blue_and_light_yellow():
    first, last = table()[0].astype(int), table()[-1].astype(int)
    assert first[2] > 2 * first[0]
    assert first.max() < 100
    assert last[0] > 230
    assert last[1] > 230
    assert last[2] < 200


def test_near_is_light_and_far_is_dark_by_the_logarithm():
    colours = colour_depth(np.array([[2.0, 12.649, 80.0]]), 2.0, 80.0)
    assert (colours[0, 0] == table()[-1]).all()
    assert (colours[0, 2] == table()[0]).all()
    assert (colours[0, 1] == table()[128]).all() or (colours[0, 1] == table()[127]).all()


def test_beyond_the_bounds_the_ends_colours_go_on():
    colours = colour_depth(np.array([[0.1, 500.0]]), 2.0, 80.0)
    assert (colours[0, 0] == table()[-1]).all()
    assert (colours[0, 1] == table()[0]).all()


def test_what_was_not_measured_is_grey_as_no_depth_is():
    colours = colour_depth(np.array([[0.0, np.nan, np.inf, -1.0]]), 2.0, 80.0)
    assert (colours == MISSING).all()
    assert not (table() == MISSING).all(axis=1).any()
    assert (colour_values(np.array([[np.nan]])) == MISSING).all()


@pytest.mark.parametrize("bounds", [(0.0, 80.0), (80.0, 2.0), (5.0, 5.0)])
def test_bounds_out_of_order_are_refused(bounds):
    with pytest.raises(ValueError, match="0 < nearest < farthest"):
        colour_depth(np.ones((1, 1)), *bounds)
