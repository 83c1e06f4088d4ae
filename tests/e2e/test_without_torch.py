"""What ships serves where torch is not installed, from the first start on."""

import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import openvino
import pytest
from PIL import Image

from model.drawing import drawn_image
from model.exported import ExportDescription
from model.metadata import contents_sha256
from service.settings import PRETRAINED
from tests.e2e.process import running

WITHOUT_TORCH = """
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "timm")))  # as where they are not installed
runpy.run_module("service", run_name="__main__", alter_sys=True)
"""
STUDENT = PRETRAINED / "student.safetensors"


def test_the_shipped_student_is_served_without_torch_and_makes_no_export(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(drawn_image(120, 160)).save(file, "JPEG")
    command = (sys.executable, "-c", WITHOUT_TORCH)
    with running(command, DEPTH_MODELS=STUDENT, DEPTH_CACHE_DIR=tmp_path, DEPTH_DEVICE="cpu") as process:
        answer = httpx.post(f"{process.url}/v1/depth?format=npy", content=file.getvalue(), timeout=60)
    assert answer.status_code == 200, answer.text
    depth = np.load(io.BytesIO(answer.content))
    assert depth.shape == (120, 160)
    assert np.isfinite(depth).all()
    assert not list(tmp_path.rglob("*.xml")), "the export beside the checkpoint was not used"


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        ("import model.export", "torch"),
        ("from model import Predictor", "torch"),
        ("import training", "training"),
    ],
)
def test_what_needs_torch_says_how_to_install_it(program: str, extra: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"needs torch: pip install 'vfm-depth[{extra}]'" in done.stderr.splitlines()[-1]


def test_the_shipped_export_is_of_the_shipped_student() -> None:
    described = ExportDescription.of_openvino(openvino.Core().read_model(STUDENT.with_suffix(".xml")))
    assert described.checkpoint_sha256 == contents_sha256(STUDENT), (
        "the student is another one: depth-export model/pretrained/student.safetensors --format openvino "
        "--uint8-input"
    )
