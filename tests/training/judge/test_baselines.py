"""Planes: where they lie, and what the best one finds."""

import math

import numpy as np
import pytest

from training.judge.baselines import Plane, best_plane, ground_plane
from training.judge.comparison import countable
from training.judge.evaluation import evaluate
from training.judge.protocols.folder import FOLDER
from training.judge.protocols.protocol import JudgingError, TruthFrame

HEIGHT, WIDTH = 40, 120
WHOLE = FOLDER["none"]
CAMERA = np.array([[70.0, 0, 60.0], [0, 80.0, 20.0], [0, 0, 1]], np.float32)


def photograph() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def test_the_road_is_where_its_geometry_puts_it():
    road = ground_plane(CAMERA, HEIGHT, camera_height_m=1.6, farthest_m=80.0)
    [disparity] = road.predict([photograph()])
    # Row 35 is 15.5 pixels below the horizon: z = f h / (v - cy) = 80 * 1.6 / 15.5.
    assert 1.0 / disparity[35] == pytest.approx(np.full(WIDTH, 80 * 1.6 / 15.5), rel=1e-6)
    assert 1.0 / disparity[:20] == pytest.approx(80.0)


def test_a_camera_that_looks_down_meets_the_road_sooner():
    pitch = math.radians(10)
    road = ground_plane(CAMERA, HEIGHT, camera_height_m=1.6, pitch_rad=pitch)
    depth = 1.0 / road.disparity(HEIGHT, WIDTH)
    # A point on the road: 1.6 m along the plane's normal (0, cos p, sin p), seen in row 35.
    ray = np.array([0.0, (35.5 - 20) / 80, 1.0])
    point = ray * float(depth[35, 0])
    assert point @ np.array([0.0, math.cos(pitch), math.sin(pitch)]) == pytest.approx(1.6, rel=1e-5)


def test_a_plane_is_the_same_at_every_size():
    plane = Plane(horizon=0.3, slope=0.3, tilt=0.02, farthest_m=50.0)
    coarse, fine = plane.disparity(20, 60), plane.disparity(40, 120)
    assert coarse[10:] == pytest.approx(fine.reshape(20, 2, 60, 2).mean((1, 3))[10:], rel=1e-5)


def street(plane: Plane, seed: int, scale: float = 1.0) -> TruthFrame:
    """A world that is the plane, measured here and there."""
    depth = scale / plane.disparity(HEIGHT, WIDTH)
    measured = np.random.default_rng(seed).random(depth.shape) < 0.3
    truth = np.where(measured, depth, 0).astype(np.float32)
    return TruthFrame(key=f"s{seed}", image=photograph(), depth_m=truth)


def test_the_best_plane_finds_the_plane_that_the_world_is():
    world = Plane(horizon=0.45, slope=0.4, tilt=0.05, farthest_m=40.0)
    frames = [street(world, seed) for seed in range(4)]
    found = best_plane(frames, WHOLE)
    assert evaluate(found.predict, frames, WHOLE).mean.abs_rel < 0.01
    assert evaluate(found.predict, frames, WHOLE, "none", metres_per_unit=1).mean.abs_rel < 0.01
    assert found.horizon == pytest.approx(0.45, abs=0.02)
    assert found.farthest_m == pytest.approx(40.0, rel=0.05)


def test_the_best_plane_is_no_worse_than_the_road_of_the_calibration():
    generator = np.random.default_rng(5)
    frames = []
    for seed in range(3):
        frame = street(Plane(horizon=0.5, slope=0.3), seed)
        noise = generator.uniform(0.5, 1.5, frame.depth_m.shape).astype(np.float32)
        frames.append(TruthFrame(key=frame.key, image=frame.image, depth_m=frame.depth_m * noise))
    road, best = ground_plane(CAMERA, HEIGHT), best_plane(frames, WHOLE)
    scores = [evaluate(plane.predict, frames, WHOLE).mean.abs_rel for plane in (best, road)]
    assert scores[0] <= scores[1]


def test_a_plane_cannot_be_fitted_to_nothing():
    empty = TruthFrame(key="s", image=photograph(), depth_m=np.zeros((HEIGHT, WIDTH), np.float32))
    with pytest.raises(JudgingError, match="s: no pixel of its ground truth counts"):
        best_plane([empty], WHOLE)


def test_ground_truth_in_another_unit_names_what_sets_the_unit():
    depth_m = np.full((HEIGHT, WIDTH), 7000, np.float32)
    frame = TruthFrame(key="s", image=photograph(), depth_m=depth_m)
    with pytest.raises(JudgingError, match=r"a median of 7000 m; --depth-scale, --min-depth and --max-depth"):
        countable(frame, WHOLE)
    empty = TruthFrame(key="s", image=photograph(), depth_m=np.zeros_like(depth_m))
    with pytest.raises(JudgingError, match=r"there are 0 measured, .* m$"):
        countable(empty, WHOLE)
