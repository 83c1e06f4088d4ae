import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.training.runs import last_state, run
from tests.training.worlds import tiny_config
from training.config import decisive, differences
from training.loop.failure import TrainingDiverged
from training.loop.outcome import Outcome
from training.loop.run_state import RunStateError, load_run_state, save_run_state, saved_states
from training.step.step import StepResult

ROOT = Path(__file__).parents[3]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["group"] == "training"}


def assert_same_weights(folder, other):
    here, there = last_state(folder), last_state(other)
    assert set(here) == set(there)
    for name, tensor in here.items():
        torch.testing.assert_close(tensor, there[name], rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finished = run(folder)
    assert finished.complete
    assert finished.step == 6
    return folder


def stop_at(step):
    def hook(trainer, number, batch):
        if number == step:
            trainer.stop()
        return batch

    return hook


def test_a_stopped_run_goes_on_with_the_same_losses_to_the_same_weights(tmp_path, uninterrupted):
    stopped = run(tmp_path, hook=stop_at(2))
    assert (stopped.step, stopped.complete) == (3, False)
    assert run(tmp_path).complete
    assert losses(tmp_path) == losses(uninterrupted)
    assert_same_weights(tmp_path, uninterrupted)


def test_ctrl_c_finishes_the_step_saves_and_returns(tmp_path, uninterrupted):
    def interrupt(trainer, number, batch):
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return batch

    before = signal.getsignal(signal.SIGINT)
    stopped = run(tmp_path, hook=interrupt)
    assert (stopped.step, stopped.complete) == (4, False)
    assert signal.getsignal(signal.SIGINT) is before
    run(tmp_path)
    assert_same_weights(tmp_path, uninterrupted)


def test_a_run_killed_at_any_moment_goes_on_from_its_last_state(tmp_path, uninterrupted):
    log = tmp_path / "log.jsonl"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.worker", str(tmp_path), "6"], cwd=ROOT, env=environment
    )
    try:
        deadline = time.monotonic() + 90
        while not (log.exists() and len(log.read_text().splitlines()) >= 3):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert run(tmp_path).complete
    assert losses(tmp_path) == losses(uninterrupted)
    assert_same_weights(tmp_path, uninterrupted)


def test_a_state_that_was_half_written_is_no_state(tmp_path, uninterrupted):
    run(tmp_path, hook=stop_at(2))
    whole = saved_states(tmp_path)[-1]
    (tmp_path / ".state-00000005.safetensors.abc.partial").write_bytes(whole.read_bytes()[:1000])
    run(tmp_path)
    assert_same_weights(tmp_path, uninterrupted)
    assert not list(tmp_path.glob(".*"))


def test_the_last_two_states_are_kept(uninterrupted):
    assert [path.name for path in saved_states(uninterrupted)] == [
        "state-00000004.safetensors",
        "state-00000006.safetensors",
    ]


def test_other_settings_are_refused_naming_each_difference(tmp_path):
    run(tmp_path, hook=stop_at(1))
    config = tiny_config(tmp_path)
    changed = dataclasses.replace(config, seed=3, optimizer=dataclasses.replace(config.optimizer, lr=5e-4))
    with pytest.raises(RunStateError) as refused:
        run(tmp_path, config=changed)
    assert "optimizer.lr: was 0.001, is now 0.0005" in str(refused.value)
    assert "seed: was 0, is now 3" in str(refused.value)
    assert "backbone_lr" not in str(refused.value)


def test_of_long_lines_of_data_only_those_that_differ_are_shown(tmp_path):
    lines = [f"video:/{'far/' * 50}{number}?fov_deg=70" for number in range(4)]
    now = {"data": [*lines[:3], "video:/new?fov_deg=70"]}
    [said] = differences({"data": lines}, now)
    assert said == f"data: was {lines[3:]!r}, is now {now['data'][3:]!r}, beside others"
    assert "is now ['b', 'a']" in differences({"data": ["a", "b"]}, {"data": ["b", "a"]})[0]


def test_a_teacher_that_was_replaced_under_its_name_is_noticed(tmp_path):
    config = tiny_config(tmp_path)
    before = decisive(config) | {"data.contents": "wall"}
    now = before | {"teacher.contents": "new"}
    assert differences(before, now) == []  # by a version that noted no teacher's contents
    assert differences(before | {"teacher.contents": "old"}, now) == [
        "teacher.contents: was 'old', is now 'new'"
    ]


def test_how_the_work_is_done_may_change_between_two_parts_of_a_run(tmp_path, uninterrupted):
    run(tmp_path, hook=stop_at(2))
    config = tiny_config(tmp_path)
    operation = dataclasses.replace(config.operation, log_every=2, save_every=1)
    run(tmp_path, config=dataclasses.replace(config, operation=operation))
    assert_same_weights(tmp_path, uninterrupted)


def broken(number):
    def hook(trainer, current, batch):
        if current == number:
            return dataclasses.replace(batch, image=batch.image * float("nan"))
        return batch

    return hook


def test_a_loss_that_is_not_finite_stops_the_run_with_the_batch_saved(tmp_path):
    with pytest.raises(TrainingDiverged, match="after 2 steps the loss is nan") as stopped:
        run(tmp_path, hook=broken(2))
    with safe_open(stopped.value.path, "pt") as file:
        assert file.get_tensor("0/image").isnan().all()
        assert json.loads(file.metadata()["keys"])[0][0].startswith("wall/")


def test_weights_are_not_touched_by_a_loss_that_is_not_finite(tmp_path, uninterrupted):
    with pytest.raises(TrainingDiverged):
        run(tmp_path, hook=broken(3))
    run(tmp_path)
    assert_same_weights(tmp_path, uninterrupted)


def test_a_run_whose_losses_are_read_a_step_later_comes_to_the_same_weights(tmp_path, uninterrupted):
    run(tmp_path, ahead=True)
    assert_same_weights(tmp_path, uninterrupted)
    assert losses(tmp_path) == losses(uninterrupted)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_weights_are_not_touched_though_a_loss_that_is_not_finite_is_read_a_step_later(
    number, tmp_path, uninterrupted
):
    quiet = tiny_config(tmp_path)
    operation = dataclasses.replace(quiet.operation, log_every=0)
    quiet = dataclasses.replace(quiet, operation=operation)
    with pytest.raises(TrainingDiverged, match=f"after {number} steps the loss is nan") as stopped:
        run(tmp_path, hook=broken(number), config=quiet, ahead=True)
    with safe_open(stopped.value.path, "pt") as file:
        assert file.get_tensor("0/image").isnan().all()
    run(tmp_path, ahead=True)
    assert_same_weights(tmp_path, uninterrupted)


def test_a_device_is_told_to_leave_the_weights_alone_by_a_loss_that_it_alone_has_seen():
    def bad(*losses, norm=1.0, highest=3.0):
        figures = [torch.tensor(loss) for loss in losses]
        result = StepResult(loss=figures[-1], terms={})
        return float(Outcome(0, result, [], figures, torch.tensor(norm)).bad(highest))

    assert [bad(1.0, 2.0), bad(2.0, 5.0), bad(math.nan), bad(1.0, norm=math.inf)] == [0, 1, 1, 1]


def test_a_loss_that_explodes_stops_the_run(tmp_path):
    run(tmp_path, hook=stop_at(1))
    config = tiny_config(tmp_path)
    settings = decisive(config) | {"data.contents": "wall", "processes": 1}
    state, tensors = load_run_state(tmp_path, settings)
    save_run_state(tmp_path, dataclasses.replace(state, recent_losses=(1e-6,) * 100), tensors)
    with pytest.raises(TrainingDiverged, match="times the recent median"):
        run(tmp_path)


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path):
    config = tiny_config(tmp_path / "large")
    small = dataclasses.replace(
        config,
        folder=tmp_path / "small",
        batch=dataclasses.replace(config.batch, size=1),
        schedule=dataclasses.replace(config.schedule, accumulation=2),
    )
    run(config.folder, config=config, steps=1)
    run(small.folder, config=small, steps=1)
    large, accumulated = last_state(config.folder), last_state(small.folder)
    moments = [name for name in large if name.endswith("/exp_avg")]
    assert moments
    for name in moments:
        torch.testing.assert_close(accumulated[name], large[name], rtol=1e-3, atol=1e-7)
