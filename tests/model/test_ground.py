import numpy as np
import pytest

from model.ground import NoGroundError, find_ground

ROWS, COLUMNS, FOCAL = 60, 96, 50.0
X = ((np.arange(COLUMNS) + 0.5 - COLUMNS / 2) / FOCAL).astype(np.float32)
Y = ((np.arange(ROWS) + 0.5 - ROWS / 2) / FOCAL).astype(np.float32)


def road(height: float, pitch_deg: float = 0.0) -> np.ndarray:
    """Depth over an endless plane, under a far sky."""
    pitch = np.radians(pitch_deg)
    below = np.cos(pitch) * Y[:, None] + np.sin(pitch) + 0 * X
    return np.where(below > 1e-3, height / np.maximum(below, 1e-3), 1e3).astype(np.float32)


@pytest.mark.parametrize("pitch_deg", [-5.0, 0.0, 8.0])
def test_the_height_over_a_road_is_found_whatever_the_pitch(pitch_deg):
    assert find_ground(road(1.4, pitch_deg), X, Y).height == pytest.approx(1.4, rel=1e-3)


def test_what_stands_on_the_road_is_not_ground():
    depth = road(1.4)
    depth[20:60, 30:50] = 3.0
    assert find_ground(depth, X, Y).height == pytest.approx(1.4, rel=0.02)


def test_far_ground_that_is_drawn_too_near_does_not_move_the_near():
    depth = road(1.4, pitch_deg=1.0)
    nearest = depth[-1, COLUMNS // 2]
    too_near = depth * np.maximum(1, depth / (2 * nearest)) ** -0.25  # by a tenth at three times the distance
    assert find_ground(too_near, X, Y).height == pytest.approx(1.4, rel=0.02)


def test_a_wall_is_no_ground():
    with pytest.raises(NoGroundError, match="is not level: its normal is 90 degrees off"):
        find_ground(np.full((ROWS, COLUMNS), 4.0, np.float32), X, Y)


def test_rubble_is_no_ground():
    depth = road(1.4) * np.random.default_rng(0).uniform(0.5, 2, (ROWS, COLUMNS)).astype(np.float32)
    with pytest.raises(NoGroundError, match="no flat ground"):
        find_ground(depth, X, Y)
