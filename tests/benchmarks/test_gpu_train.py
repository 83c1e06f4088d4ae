"""The rehearsal of training on a GPU: pack, teacher, student, checkpoints."""

from pathlib import Path

from benchmarks.gpu_train import run
from model.metadata import read_metadata
from tests.benchmarks.test_gpu_trial import plain
from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.packed import pack


def test_a_teacher_and_a_student_of_it_come_out_in_about_the_time_that_there_is(tmp_path: Path) -> None:
    packed, folder = tmp_path / "pack.safetensors", tmp_path / "runs"
    pack(WallWorld(6), packed, height=HEIGHT, width=WIDTH)
    teacher, student = run(packed, 0.02, folder, {})
    assert [read_metadata(path).config.role for path in (teacher, student)] == ["teacher", "student"]
    assert [parent.role for parent in read_metadata(student).provenance.parents] == ["teacher"]
    assert read_metadata(student).provenance.steps >= 4
    assert max(path.stat().st_size for path in (teacher, student)) < 16_000_000
    assert not list(folder.glob("*/timed"))


def test_it_starts_on_a_machine_that_has_little_but_torch() -> None:
    done = plain("benchmarks/gpu_train.py", "--help")
    assert done.returncode == 0, done.stderr
