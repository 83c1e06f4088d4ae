"""A disk that fills up, in each place where training writes: one line names the file and what to do."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.docs.blocks import ROOT
from tests.model.films import film
from tests.training.street import Street

ADVICE = "the disk is full; free some space, or choose a folder on another disk"
DRAWN = "synthetic:?sequences=1&frames=4&height=64&width=96"
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount disks of a given size, of which the test may fill every byte."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        if LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
            pytest.skip(f"needs the right to mount a disk: {os.strerror(ctypes.get_errno())}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        LIBC.umount2(os.fsencode(folder), 2)


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, check=False,
        timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def assert_told(done: subprocess.CompletedProcess[str], file: Path) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    (line,) = (line for line in said.splitlines() if ADVICE in line)
    assert str(file) in line


def fill(disk: Path) -> Path:
    """Take all the space that is left; return the file that has it."""
    filler = disk / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, bytes(4096))
    except OSError:
        return filler
    finally:
        os.close(file)


SMOKE = ("smoke", "--schedule.steps", 4, "--operation.save-every", 2, "--operation.log-every", 1)


@pytest.mark.slow
def test_a_run_on_a_full_disk_says_so_and_goes_on_once_there_is_space(disk):
    full = disk("64m")
    filler = full / "filler"
    filler.write_bytes(bytes(63 * 2**20))
    arguments = (
        "training.train",
        *SMOKE,
        "--data",
        DRAWN,
        "--folder",
        full / "run",
        "--operation.no-tensorboard",
    )
    assert_told(run(*arguments), full / "run" / "state-00000002.safetensors")
    assert [path.name for path in (full / "run").iterdir()] == ["log.jsonl"]
    filler.unlink()
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (full / "run" / "student.safetensors").exists()


@pytest.mark.slow
def test_a_log_that_does_not_fit_is_named(disk):
    full = disk("1m")
    (full / "run").mkdir()
    (full / "run" / "log.jsonl").touch()
    fill(full)
    arguments = (
        "training.train",
        *SMOKE,
        "--data",
        DRAWN,
        "--folder",
        full / "run",
        "--operation.no-tensorboard",
    )
    assert_told(run(*arguments), full / "run" / "log.jsonl")


@pytest.mark.slow
def test_frames_of_a_video_that_do_not_fit_are_told_before_any_is_stored(disk, tmp_path):
    full, street = disk("1m"), Street(frames=6, height=96, width=160)
    film(tmp_path / "a.mp4", [street.draw(number)[0] for number in range(6)])
    fill(full)
    data = f"video:{tmp_path / 'a.mp4'}?fov_deg=75&cache={full / 'cache'}"
    assert_told(run("training.train", "smoke", "--folder", tmp_path / "run", "--data", data), full / "cache")


@pytest.mark.slow
def test_drawn_samples_and_hints_that_do_not_fit_are_named(disk, tmp_path):
    full = disk("64k")
    arguments = ("--data", f"{DRAWN}&folder={full / 'drawn'}", "--folder", tmp_path / "run")
    assert_told(run("training.train", "smoke", *arguments), full / "drawn")
    hints = disk("4k")
    arguments = ("--data", DRAWN, "--views", "stereo", "--folder", hints / "hints")
    assert_told(run("training.hints", *arguments), hints / "hints")


@pytest.mark.slow
def test_a_checkpoint_and_an_evaluation_that_do_not_fit_leave_nothing_half_written(disk, tmp_path):
    full, student = disk("1m"), ROOT / "model" / "pretrained" / "student.safetensors"
    output = full / "mine.safetensors"
    shipped = run(
        "training.ship", student, "--output", output, "--licence", "CC BY-NC-SA 3.0", "--data", "streets"
    )
    assert_told(shipped, output)
    assert not list(full.iterdir())
    street = Street(frames=1, height=96, width=160)
    image, depth_m = street.draw(0)
    (tmp_path / "depth").mkdir()
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    np.save(tmp_path / "depth" / "a.npy", depth_m)
    fill(full)
    judged = run(
        "training.judge.evaluate", student, "--protocol", "folder", "--data", tmp_path / "images",
        "--ground-truth", tmp_path / "depth", "--output", full,
    )  # fmt: skip
    assert_told(judged, full / "summary.json")
    assert "AbsRel" in judged.stderr
