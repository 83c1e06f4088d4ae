import numpy as np
import pytest

from training.hints.semi_global import SmoothnessPenalties, aggregate

PENALTIES = SmoothnessPenalties(one_plane=0.1, many_planes=0.6, many_planes_at_edges=0.2, edge=0.05)


def by_the_formula(cost, grey):
    """The recursion as it is written in the paper, one pixel and one plane at a time."""
    height, width, planes = cost.shape
    total = np.zeros_like(cost)
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        path = np.zeros_like(cost)
        rows = range(height) if down >= 0 else range(height - 1, -1, -1)
        columns = range(width) if right >= 0 else range(width - 1, -1, -1)
        for y in rows:
            for x in columns:
                before = (y - down, x - right)
                if not (0 <= before[0] < height and 0 <= before[1] < width):
                    path[y, x] = cost[y, x]
                    continue
                step = abs(grey[y, x] - grey[before])
                far = 0.2 + 0.4 / (1 + step / 0.05)
                least = path[before].min()
                for d in range(planes):
                    ways = [path[before][d], least + far]
                    ways += [path[before][near] + 0.1 for near in (d - 1, d + 1) if 0 <= near < planes]
                    path[y, x, d] = cost[y, x, d] + min(ways) - least
        total += path
    return total


def test_costs_are_those_of_the_formula():
    random = np.random.default_rng(0)
    cost = random.random((5, 6, 7), np.float32)
    grey = random.random((5, 6), np.float32)
    assert np.allclose(aggregate(cost, grey, PENALTIES), by_the_formula(cost, grey), atol=1e-5)


def test_pixels_that_say_nothing_follow_their_neighbours():
    cost = np.full((9, 9, 12), 0.5, np.float32)
    cost[:, :3, 7] = cost[:, -3:, 7] = 0.0
    grey = np.full((9, 9), 0.5, np.float32)
    assert (aggregate(cost, grey, PENALTIES).argmin(axis=2) == 7).all()


def test_depth_steps_where_the_image_has_an_edge():
    """A column says nothing; it belongs to the surface that it looks like."""
    cost = np.full((9, 10, 12), 0.5, np.float32)
    cost[:, :4, 2] = cost[:, 6:, 9] = 0.0
    grey = np.full((9, 10), 0.2, np.float32)
    grey[:, 5:] = 0.9
    best = aggregate(cost, grey, PENALTIES).argmin(axis=2)
    assert (best[:, :5] == 2).all()
    assert (best[:, 5:] == 9).all()


def test_penalties_out_of_order_are_refused_by_their_values():
    with pytest.raises(ValueError, match=r"penalties are 0.5, 0.08 and 0.3.*expected 0 <= one_plane"):
        SmoothnessPenalties(one_plane=0.5)
