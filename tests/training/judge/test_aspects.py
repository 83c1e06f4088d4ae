import cv2
import numpy as np
import pytest

from training.judge.aspects import (
    Aspects,
    AspectsReport,
    edge_errors,
    measure_aspects,
    sky_beyond,
    vehicle_errors,
)
from training.judge.comparison import compare
from training.judge.protocols.folder import FOLDER
from training.judge.protocols.protocol import TruthFrame


@pytest.fixture
def box() -> np.ndarray:
    """A box at 10 m before a wall at 20 m."""
    depth_m = np.full((120, 400), 20.0, np.float32)
    depth_m[40:100, 100:260] = 10.0
    return depth_m


def test_the_truth_itself_has_no_edge_error_in_whatever_unit(box):
    edges = edge_errors(3 * box, box)
    assert edges.error == pytest.approx(0, abs=1e-6)
    assert edges.false == pytest.approx(0, abs=1e-6)


def test_a_flat_prediction_misses_every_edge(box):
    assert edge_errors(np.full_like(box, 15), box).error == pytest.approx(1)


def test_the_softer_an_edge_the_larger_its_error(box):
    errors = [edge_errors(cv2.GaussianBlur(box, (0, 0), blur), box).error for blur in (0.5, 1, 2, 4)]
    assert errors == sorted(errors)
    assert errors[0] < 0.3 < 0.6 < errors[-1]


def test_texture_taken_for_depth_is_a_false_edge_and_no_missed_one(box):
    striped = box.copy()
    striped[:, ::2] *= 1.1
    apart_of_one = edge_errors(striped[:, :200], box[:, :200])  # pairs of neighbours
    assert apart_of_one.false > 0.04
    assert edge_errors(box[:, :200], box[:, :200]).false < 1e-6


def test_only_measured_pixels_make_edges(box):
    sparse = np.where(np.random.default_rng(0).random(box.shape) < 0.3, box, 0).astype(np.float32)
    dense = edge_errors(cv2.GaussianBlur(box, (0, 0), 2), box)
    thin = edge_errors(cv2.GaussianBlur(box, (0, 0), 2), sparse)
    assert thin.jumps < dense.jumps
    assert thin.error == pytest.approx(dense.error, abs=0.1)
    assert edge_errors(box, np.zeros_like(box)) is None
    assert edge_errors(box, np.full_like(box, 5)) is None


def test_each_vehicle_is_judged_by_itself(box):
    vehicles = np.zeros(box.shape, bool)
    vehicles[50:90, 120:160] = vehicles[50:90, 200:240] = vehicles[0:3, 0:3] = True
    predicted = box.copy()
    predicted[:, :180] *= 1.2
    predicted[:, 180:] *= 0.9
    assert vehicle_errors(predicted, box, vehicles) == pytest.approx((0.2, -0.1), abs=1e-6)


def test_sky_counts_where_it_is_beyond_the_farthest_surface(box):
    sky = np.zeros(box.shape, np.float32)
    sky[:20] = 1
    predicted = box.copy()
    predicted[:20] = 15
    predicted[:5] = 80
    assert sky_beyond(predicted, sky) == pytest.approx(0.25)
    assert sky_beyond(predicted, np.zeros_like(sky)) is None


def test_edges_are_measured_without_a_foundation_model_and_told_with_their_number(box):
    frame = TruthFrame(key="box", image=np.zeros((*box.shape, 3), np.uint8), depth_m=box)
    comparison = compare(frame, 1 / cv2.GaussianBlur(box, (0, 0), 2), FOLDER["none"])
    seen = measure_aspects(comparison, frame.image, "median", None, None)
    assert seen.edges.error > 0.2
    report = AspectsReport(images=(seen, Aspects(key="none", edges=None, vehicles=(0.1, 0.3), sky=0.5)))
    assert report.summary()["edge_images"] == 1
    assert report.summary()["vehicles_too_far"] == pytest.approx(0.2)
    assert len(report.lines()) == 3


def test_where_nothing_can_be_measured_the_report_says_so():
    assert "none" in AspectsReport(images=()).lines()[0]
