"""A difference between two candidates on the same frames."""

import numpy as np
import pytest

from training.judge.bootstrap import BootstrapConfig
from training.judge.comparison import FrameScore
from training.judge.metrics import Metrics
from training.judge.protocols.folder import FOLDER
from training.judge.report import Report, summarise
from training.judge.significance import differences


def report(errors: np.ndarray, *, key: str = "f", alignment: str = "median") -> Report:
    scores = [
        FrameScore(
            key=f"{key}{index}",
            pixels=1,
            measured=2,
            ratio=1.0,
            metrics=Metrics(abs_rel=float(error), sq_rel=1, rmse=1, rmse_log=1, delta1=1, delta2=1, delta3=1),
        )
        for index, error in enumerate(errors)
    ]
    return summarise(
        scores,
        FOLDER["none"],
        alignment,  # type: ignore[arg-type]
        flip=False,
        metres_per_unit=None,
        bootstrap=BootstrapConfig(),
    )


HARD = np.random.default_rng(0).uniform(0.05, 0.5, 60)
"""Frames that are hard for everyone, or easy."""


def test_a_small_but_constant_difference_is_told_apart_where_the_means_overlap():
    one, other = report(HARD), report(HARD + 0.01)
    assert one.intervals["abs_rel"].high > other.intervals["abs_rel"].low
    found = differences(one, other)[0]
    assert found.metric == "abs_rel"
    assert found.mean == pytest.approx(-0.01)
    assert found.told_apart


def test_noise_of_no_mean_is_not_told_apart():
    noise = np.random.default_rng(1).normal(0, 0.05, 60)
    assert not differences(report(HARD), report(HARD + noise - noise.mean()))[0].told_apart


def test_other_frames_are_no_pair():
    with pytest.raises(ValueError, match="other frames"):
        differences(report(HARD), report(HARD, key="g"))
