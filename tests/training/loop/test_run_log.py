import json
import math

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.loop.run_log import RunLog, duration, picture_sheet
from training.step.step import Pictures


def pictures():
    return Pictures(
        image=torch.full((3, 4, 6), 0.5),
        disparity=torch.rand(1, 4, 6) + 0.1,
        teacher_disparity=None,
        warped=torch.ones(3, 2, 3),
        moving=torch.zeros(1, 2, 3),
        sky=None,
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_each_step_is_one_line_of_json(tmp_path):
    log = RunLog(tmp_path / "new", tensorboard=False)
    log.scalars(1, {"loss": 0.5}, group="training")
    log.scalars(2, {"loss": math.nan}, group="training")
    assert [(line["step"], line["loss"]) for line in lines(tmp_path / "new")] == [(1, 0.5), (2, None)]


def test_a_process_that_does_not_lead_writes_nothing(tmp_path):
    RunLog(tmp_path, tensorboard=True, active=False).scalars(1, {"loss": 0.5}, group="training")
    assert not list(tmp_path.iterdir())


def test_steps_that_were_not_saved_are_forgotten_with_a_line_cut_short(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    for step in (1, 2, 3):
        log.scalars(step, {"loss": 0.5}, group="training")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    log.forget_after(2)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_tensorboard_gets_curves_and_pictures(tmp_path):
    log = RunLog(tmp_path, tensorboard=True)
    log.scalars(3, {"loss": 0.5}, group="training")
    log.pictures(3, pictures())
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(3, 0.5)]
    assert [event.step for event in events.Images("pictures")] == [3]


def test_a_sheet_shows_what_there_is_one_below_the_other():
    sheet = picture_sheet(pictures())
    assert sheet.shape == (16, 6, 3)
    assert (sheet[:4] == 128).all()
    assert (sheet[8:12] == 255).all()
    assert (sheet[12:] == 0).all()


def test_near_is_brighter_than_far_in_the_depth_picture():
    near_left = torch.tensor([1.0, 0.01]).expand(1, 4, 2)
    seen = Pictures(
        image=torch.zeros(3, 4, 2),
        disparity=near_left,
        teacher_disparity=None,
        warped=None,
        moving=None,
        sky=None,
    )
    depth = picture_sheet(seen)[4:].astype(np.int64).sum(axis=-1)
    assert (depth[:, 0] > depth[:, 1]).all()


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (60 * 12, "12 min"), (3600 * 3 + 60 * 20, "3 h 20 min")]
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said
