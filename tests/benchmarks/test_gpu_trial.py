"""The trial on a GPU, as far as it goes without one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu_trial_networks import finished
from model.images import disparity_to_depth_map

ROOT = Path(__file__).parents[2]

# A machine with torch, timm, safetensors, numpy, Pillow and OpenCV alone.
PLAIN = """
import runpy, sys
LACKS = {"jaxtyping", "beartype", "tyro", "av", "pydantic", "pydantic_settings", "fastapi", "starlette",
         "openvino", "uvicorn", "uvloop", "grpc", "isal", "simplejpeg", "imagecodecs", "prometheus_client"}
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in LACKS else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.path[0] = "benchmarks"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def plain(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of our scripts on a plain machine."""
    arguments = [sys.executable, "-c", PLAIN, *map(str, command)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_without_a_gpu_the_parts_of_a_cpu_are_run_and_it_says_so(tmp_path: Path) -> None:
    done = plain("benchmarks/gpu_trial.py", "--quick", "--output", tmp_path / "trial.json")
    assert done.returncode == 0, done.stderr
    assert "No CUDA device" in done.stderr
    report = json.loads((tmp_path / "trial.json").read_text())
    assert (report["cuda"], report["failed"]) == (False, {})
    assert set(report["skipped"]) == {"graphs", "service"}
    assert {part for part, rows in report["rows"].items() if rows} == {
        "parity", "throughput", "reloads", "training step", "codec"
    }  # fmt: skip
    errors = {row["what"]: row["value"] for row in report["rows"]["parity"] if "error" in row["what"]}
    assert 0 < errors["teacher, float32: mean error"] < 0.01 < errors["teacher, bfloat16: mean error"] < 2
    text = (tmp_path / "trial.md").read_text()
    assert "no figure is a GPU's" in text
    assert "ms a step" in text


def test_depth_that_the_device_finishes_is_the_hosts_to_a_step() -> None:
    disparity = np.random.default_rng(0).uniform(0.01, 0.5, (2, 48, 96)).astype(np.float32)
    found = finished(torch.from_numpy(disparity), 75, 200)
    assert found.dtype is torch.uint16
    for one, own in zip(found.numpy().astype(int), disparity, strict=True):
        expected = np.round(disparity_to_depth_map(own, 75, 200) * 256)
        assert np.abs(one - expected).max() <= 1
