"""The whole road in miniature: draw a world, train a teacher, distil a student, judge, serve and ask it."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from model.metadata import read_metadata
from model.predictor import Predictor
from tests.e2e.process import ROOT, SERVE, running
from tests.service.checkpoints import write_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("e2e-road")]

STEPS = 120
WORLD = "height=64&width=192&styles=residential,arterial&frames=8"


def command(*words: object) -> str:
    """Run one of our command lines as its user would; answer what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> Path:
    """Everything up to the student's checkpoint."""
    folder = tmp_path_factory.mktemp("road")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", dynamic_img_size=True).state_dict(), folder / "vit.safetensors")
    command(
        "training.data.synthetic", "--sequences", 2, "--frames", 6, "--height", 64, "--width", 192,
        "--seed", 99, "--folder", folder / "drawn", "--judged-by", folder / "judged",
    )  # fmt: skip
    world = f"synthetic:?sequences=6&seed=1&{WORLD}&folder={folder / 'drawn'}"
    common = (
        "--data", world, "--foundation-weights", folder / "vit.safetensors", "--schedule.steps", STEPS,
        "--operation.threads", 1, "--operation.loader-threads", 1,
    )  # fmt: skip
    command("training.train", "smoke-teacher", "--folder", folder / "teacher", *common)
    teacher = folder / "teacher/teacher.safetensors"
    command("training.train", "smoke-distil", "--folder", folder / "student", "--teacher", teacher, *common)
    return folder


@pytest.fixture(scope="module")
def photograph(road: Path) -> Path:
    return sorted((road / "judged/image").iterdir())[0]


def judged(checkpoint: Path, road: Path, name: str) -> float:
    """A checkpoint's median-scaled AbsRel on the held-out world."""
    command(
        "training.judge.evaluate", checkpoint, "--protocol", "folder", "--data", road / "judged/image",
        "--ground-truth", road / "judged/depth", "--output", road / name,
    )  # fmt: skip
    with (road / name / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    return float(np.mean([float(row["abs_rel"]) for row in rows]))


def test_the_student_names_its_teacher_and_its_data(road):
    provenance = read_metadata(road / "student/student.safetensors").provenance
    assert [parent.role for parent in provenance.parents] == ["teacher"]
    assert provenance.recipe == "smoke-distil"
    assert "synthetic world" in " ".join(provenance.data)


def test_a_minute_of_training_beats_no_training(road):
    untrained = write_checkpoint(road / "untrained.safetensors")
    before = judged(untrained, road, "before")
    assert judged(road / "student/student.safetensors", road, "after") < 0.9 * before


def test_the_distilled_student_is_served_with_the_predictors_own_depth(road, photograph):
    checkpoint = road / "student/student.safetensors"
    environment = {"DEPTH_MODELS": checkpoint, "DEPTH_CACHE_DIR": road / "cache"}
    with running(SERVE, **environment) as process:
        answer = httpx.post(
            f"{process.url}/v1/depth", params={"format": "npy"}, content=photograph.read_bytes(), timeout=60
        )
    assert answer.status_code == 200, answer.text
    served = np.load(io.BytesIO(answer.content))
    image = cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB)
    expected = Predictor.from_checkpoint(checkpoint).predict([image])[0]
    assert np.median(np.abs(served - expected) / expected) < 0.02
    assert answer.headers["x-depth-unit"] == "metre"
