import os
from argparse import Namespace

import pytest

from benchmarks.load import Load
from benchmarks.sizing import answered, held_to, measure, report
from service.settings import PRETRAINED


def test_what_is_started_within_is_held_to_its_cores_and_nothing_after() -> None:
    before = os.sched_getaffinity(0)
    with held_to({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_a_load_with_an_answer_that_was_no_depth_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match=r"1 of 2 requests got no depth: \{429\}"):
        answered(Load(seconds=1.0, statuses=[200, 429], latencies_s=[0.1, 0.1]))
    with pytest.raises(RuntimeError, match="0 of 0"):
        answered(Load(seconds=1.0))


def test_a_row_is_measured_on_a_real_service_and_told() -> None:
    settings: dict[str, object] = {
        "backend": "simulated",
        "device": "cpu",
        "models": PRETRAINED / "student.safetensors",
    }
    row = measure("student", 1, Namespace(lone=10, turns=1, seconds=0.5), settings)
    assert row.apart == (len(os.sched_getaffinity(0)) > 1)
    assert len(row.lone_s) == 10
    assert row.per_second > 1
    assert len(row.steady.good_s) > 1
    assert 50 < row.resident_mb < 2000
    *_, line = report([row], 0.5)
    assert line.startswith(f"| student | 1 | {row.ready_s:.1f} s | ")
    assert line.count("|") == 9
