"""Judging any function from images to disparity, with predictions that can be computed in the head."""

import dataclasses
import json
import threading
import time

import numpy as np
import pytest

from model.predictor import Predictor
from tests.assets import shared
from tests.model.networks import lively
from training.data.sequence import Sample
from training.judge.bootstrap import BootstrapConfig
from training.judge.candidates import of_predictor
from training.judge.evaluation import evaluate, evaluate_all
from training.judge.metrics import NAMES
from training.judge.protocols.folder import FOLDER, FolderFrames
from training.judge.protocols.kitti_eigen import KITTI_EIGEN
from training.judge.protocols.protocol import JudgedFrame, JudgedFrames, JudgingError, TruthFrame
from training.judge.report import write_csv

WHOLE = FOLDER["none"]
HEIGHT, WIDTH = 12, 40


def brightness(images):
    """Disparity that reads the answer from the picture: red is metres."""
    return [1.0 / image[..., 0].astype(np.float32) for image in images]


def frame(key: str, metres: np.ndarray | int, factor: float = 1.0) -> TruthFrame:
    """A photograph whose red channel is depth in metres; its ground truth is that times a factor."""
    red = np.broadcast_to(np.asarray(metres), (HEIGHT, WIDTH)).astype(np.uint8)
    image = np.stack([red, red, red], axis=-1)
    return TruthFrame(key=key, image=image, depth_m=red.astype(np.float32) * np.float32(factor))


def frames(*factors: float) -> list[TruthFrame]:
    ramp = np.linspace(5, 30, WIDTH)
    return [frame(f"f{index}", ramp, factor) for index, factor in enumerate(factors)]


def test_a_prediction_that_is_right_up_to_scale_is_perfect_by_median_scaling():
    report = evaluate(brightness, frames(1.0, 2.0, 0.5), WHOLE)
    assert report.mean.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert report.mean.delta1 == 1.0
    assert report.images == 3


def test_metres_are_judged_as_predicted():
    [report] = evaluate_all(brightness, frames(1.0, 2.0), WHOLE, ["none"], metres_per_unit=1.0)
    assert [score.metrics.abs_rel for score in report.scores] == pytest.approx([0.0, 0.5], abs=1e-6)
    assert report.mean.abs_rel == pytest.approx(0.25)
    [scaled] = evaluate_all(brightness, frames(1.0, 2.0), WHOLE, ["none"], metres_per_unit=2.0)
    assert [score.metrics.abs_rel for score in scaled.scores] == pytest.approx([1.0, 0.0], abs=1e-6)


def test_metres_of_a_relative_prediction_are_refused():
    with pytest.raises(ValueError, match="relative"):
        evaluate(brightness, frames(1.0), WHOLE, "none")


def test_scale_statistics_tell_how_far_metres_are_off():
    report = evaluate(brightness, frames(1.0, 1.1, 1.2), WHOLE, metres_per_unit=1.0)
    assert report.scale.median == pytest.approx(1.1, rel=1e-5)
    assert report.scale.spread == pytest.approx(np.std([1.0, 1.1, 1.2]) / 1.1, rel=1e-4)
    halved = evaluate(brightness, frames(1.0, 1.1, 1.2), WHOLE, metres_per_unit=2.0)
    assert halved.scale.median == pytest.approx(0.55, rel=1e-5)


def test_several_alignments_judge_the_same_single_prediction():
    calls = []

    def predict(images):
        calls.append(len(images))
        return brightness(images)

    reports = evaluate_all(predict, frames(1.0, 2.0), WHOLE, ["median", "least_squares"], batch_size=2)
    assert calls == [2]
    assert [report.alignment for report in reports] == ["median", "least_squares"]
    assert reports[0] != reports[1]


def test_flip_averaging_takes_the_mean_disparity_of_both_directions_and_says_so():
    seen = []

    def predict(images):
        seen.append([image[0, 0, 0] for image in images])
        return [np.full((2, WIDTH), 0.1) + 0.1 * np.arange(WIDTH) / (WIDTH - 1) for _ in images]

    truth = dataclasses.replace(frames(1.0)[0], depth_m=np.full((HEIGHT, WIDTH), 1 / 0.15, np.float32))
    report = evaluate(predict, [truth], WHOLE, "none", metres_per_unit=1.0, flip=True)
    # 0.1 + 0.1 x and its mirror 0.2 - 0.1 x average to 0.15 everywhere.
    assert report.mean.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert seen == [[5], [30]]
    assert "averaged with mirrored images" in report.conditions()
    assert "no flip averaging" in evaluate(predict, [truth], WHOLE).conditions()


def test_a_training_sample_is_judged_as_it_is():
    image = frames(1.0)[0].image
    sample = Sample(
        key="s",
        image=image,
        intrinsics=np.eye(3, dtype=np.float32),
        sources=(),
        depth_m=image[..., 0].astype(np.float32),
    )
    assert isinstance(sample, JudgedFrame)
    assert evaluate(brightness, [sample], WHOLE).mean.abs_rel == pytest.approx(0.0, abs=1e-6)


def test_predictions_of_any_size_are_resized_as_disparity():
    # A plane is linear in disparity, so that half the resolution loses nothing but the edges' half pixels.
    columns = np.arange(WIDTH) + 0.5
    truth = (1.0 / (0.05 + 0.005 * columns)).astype(np.float32)
    judged = TruthFrame(key="p", image=np.zeros((4, 8, 3), np.uint8), depth_m=np.tile(truth, (HEIGHT, 1)))
    coarse = 0.05 + 0.005 * (np.arange(WIDTH // 2) + 0.5) * 2
    report = evaluate(lambda images: [np.tile(coarse, (3, 1))], [judged], WHOLE, "none", metres_per_unit=1)
    assert report.mean.abs_rel < 0.003


def test_every_number_stands_beside_its_conditions():
    report = evaluate(brightness, frames(1.0, 2.0), KITTI_EIGEN)
    text = "\n".join(report.lines())
    assert "median scaling per image" in text
    assert "2 images (published: 697, so not comparable with the tables)" in text
    assert "Garg crop" in text
    assert "published" not in evaluate(brightness, frames(1.0), WHOLE).conditions()


def test_intervals_hold_the_mean_of_every_number():
    report = evaluate(
        brightness,
        frames(1.0, 2.0, 1.5),
        WHOLE,
        "none",
        metres_per_unit=1.3,
        bootstrap=BootstrapConfig(block=2),
    )
    for name in NAMES:
        assert report.intervals[name].low <= getattr(report.mean, name) <= report.intervals[name].high
    assert report.intervals["abs_rel"].low < report.intervals["abs_rel"].high


def test_the_summary_is_plain_json():
    report = evaluate(brightness, frames(1.0, 2.0), WHOLE, "none", metres_per_unit=1.0)
    plain = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert plain["mean"]["abs_rel"] == pytest.approx(0.25)
    assert plain["alignment"] == "none"
    assert plain["images"] == 2


def test_the_table_has_a_row_for_each_image_and_alignment(tmp_path):
    reports = evaluate_all(brightness, frames(1.0, 2.0), WHOLE, ["median", "none"], metres_per_unit=1.0)
    write_csv(tmp_path / "images.csv", reports)
    header, *rows = [line.split(",") for line in (tmp_path / "images.csv").read_text().splitlines()]
    assert header == ["key", "alignment", "pixels", "measured", "ratio", *NAMES]
    assert [(row[0], row[1]) for row in rows] == [
        ("f0", "median"),
        ("f1", "median"),
        ("f0", "none"),
        ("f1", "none"),
    ]
    assert float(rows[3][5]) == pytest.approx(0.5)
    assert int(rows[0][2]) == HEIGHT * WIDTH


class Slow:
    """Frames that know how many of them were read, and how far ahead of the predictions."""

    def __init__(self, count: int) -> None:
        self.reads: list[int] = []
        self.count = count
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> TruthFrame:
        with self.lock:
            self.reads.append(index)
        time.sleep(0.001)
        return frame(f"f{index}", 10 + index)


def test_frames_are_read_once_in_order_and_only_a_little_ahead():
    slow, done, ahead = Slow(20), [0], []
    assert isinstance(slow, JudgedFrames)

    def predict(images):
        time.sleep(0.02)
        ahead.append(len(slow.reads) - done[0])
        done[0] += len(images)
        return brightness(images)

    told = []
    report = evaluate(predict, slow, WHOLE, batch_size=3, progress=lambda *place: told.append(place))
    assert [score.key for score in report.scores] == [f"f{index}" for index in range(20)]
    assert sorted(slow.reads) == list(range(20))
    assert 3 < max(ahead) <= 12
    assert told == [(3, 20), (6, 20), (9, 20), (12, 20), (15, 20), (18, 20), (20, 20)]


def test_a_frame_without_ground_truth_is_named():
    broken = dataclasses.replace(frames(1.0)[0], key="drive/0000000007", depth_m=None)
    with pytest.raises(JudgingError, match="drive/0000000007: has no ground truth"):
        evaluate(brightness, [*frames(1.0), broken], WHOLE)


@pytest.mark.parametrize("metres", [0.0, 90.0])
def test_a_frame_of_which_no_pixel_counts_is_named(metres):
    truth = np.full((HEIGHT, WIDTH), metres, np.float32)
    broken = dataclasses.replace(frames(1.0)[0], key="drive/0000000007", depth_m=truth)
    measured = np.count_nonzero(truth)
    with pytest.raises(
        JudgingError, match=rf"drive/0000000007: no pixel .* 480 there are {measured} measured"
    ):
        evaluate(brightness, [broken], WHOLE)


def test_fewer_predictions_than_images_are_refused():
    with pytest.raises(JudgingError, match="1 disparity maps were predicted for 2 images, from f0 on"):
        evaluate(lambda images: brightness(images)[:1], frames(1.0, 1.0), WHOLE, batch_size=2)


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan, np.inf])
def test_what_is_no_disparity_is_named(value):
    def predict(images):
        maps = brightness(images)
        maps[-1][0, 0] = value
        return maps

    with pytest.raises(JudgingError, match="f1: predicted disparity lies between"):
        evaluate(predict, frames(1.0, 1.0), WHOLE, batch_size=2)


def test_maps_of_another_kind_are_refused():
    with pytest.raises(JudgingError, match=r"f0: predicted float64 of shape \(1, 4, 8\)"):
        evaluate(lambda images: [np.ones((1, 4, 8))], frames(1.0), WHOLE)
    with pytest.raises(JudgingError, match="f0: predicted uint8"):
        evaluate(lambda images: [np.ones((4, 8), np.uint8)], frames(1.0), WHOLE)


def test_no_frames_are_an_error():
    with pytest.raises(JudgingError, match="no frames"):
        evaluate(brightness, [], WHOLE)


def test_a_live_network_is_judged_without_being_changed():
    network = lively("tiny")
    network.train()
    report = evaluate(of_predictor(Predictor(network)), frames(1.0, 1.0, 1.0), WHOLE)
    assert report.mean.abs_rel > 0.01
    assert network.training


def test_real_frames_take_seconds_and_a_random_network_does_not_do_well():
    sequence = shared("data/kitti_odometry/sequences/04")
    real = FolderFrames(sequence / "image_2", sequence / "velodyne_depth")
    started = time.monotonic()
    report = evaluate(of_predictor(Predictor(lively("tiny"))), real, FOLDER["garg"])
    assert time.monotonic() - started < 60
    assert report.images == 51
    assert report.mean.abs_rel > 0.3
    assert all(10_000 < score.pixels < 30_000 for score in report.scores)
