"""The ten steps of docs/train.md, from a phone's film to a service that answers in metres."""

import io
import json
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model.metadata import read_metadata
from tests.docs.blocks import ROOT, blocks
from tests.docs.scratch import install_commands
from tests.docs.test_commands import _environment
from tests.e2e.process import SERVE, running
from tests.model.films import MATRICES, film
from tests.training.street import Street

STREET = Street(frames=112, slides=False)
FILMED, STILLS = 100, 12
NEAR_M = 8.0
"""As far as so short a training at so small a size gives depth its shape; beyond, all comes out too near."""
STEPS = [block for block in blocks(ROOT / "docs" / "train.md") if "apart" in block.words]


def film_phone(folder: Path) -> None:
    """Write a film on its side, of an uneven frame rate, and a folder of stills with unpadded names."""
    uneven = np.random.default_rng(0).integers(-1, 2, FILMED)
    ticks = [3 * number + int(late) for number, late in enumerate(uneven)]
    ticks[0] = 0
    pictures = [np.ascontiguousarray(np.rot90(STREET.draw(tick / 3)[0])) for tick in ticks]
    film(
        folder / "phone.mp4", pictures, ticks=ticks, base=Fraction(1, 30), matrix=MATRICES["quarter turn"],
        options={"crf": "12"},
    )  # fmt: skip
    (folder / "stills").mkdir()
    for number in range(1, STILLS + 1):
        Image.fromarray(STREET.draw(FILMED + number - 1)[0]).save(folder / "stills" / f"frame{number}.png")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_steps_lead_from_a_film_to_metres(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "page"
    (folder / "models").mkdir(parents=True)
    (folder / "model").symlink_to(ROOT / "model")
    shutil.copy(ROOT / "model" / "pretrained" / "student.safetensors", folder / "models")
    install_commands(tmp_path / "bin")
    film_phone(folder)
    exports = request.config.cache.mkdir("exports")
    settings = {"DEPTH_MODELS": folder / "models", "DEPTH_CACHE_DIR": exports, "DEPTH_THREADS": 1}
    assert len(STEPS) == 7
    with running(SERVE, 300, **settings) as service:
        for block in STEPS:
            code = re.sub(r"localhost:8000\b", f"127.0.0.1:{service.http_port}", block.code)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=_environment(tmp_path, exports),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
            assert done.returncode == 0, f"{block}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        ratios = [metres_over_truth(service.http_port, folder, still) for still in range(1, STILLS + 1)]
    assert np.asarray(Image.open(folder / "first.png")).shape == (STREET.height, STREET.width, 3)
    [camera] = read_metadata(folder / "models" / "phone.safetensors").cameras
    found = {"fov_deg": camera.fov_deg, "metres_over_truth": float(np.median(ratios))}
    print(json.dumps(found | {"spread": float(np.std(ratios))}))
    assert camera.fov_deg == pytest.approx(STREET.fov_deg, rel=0.05)
    assert found["metres_over_truth"] == pytest.approx(1, abs=0.1)
    assert np.load(folder / "depth.npy").shape == (round(0.85 * STREET.height), STREET.width)


def metres_over_truth(port: int, folder: Path, still: int) -> float:
    """Ask about a still without its bonnet; return the median of its metres over the true ones nearby."""
    _, truth_m = STREET.draw(FILMED + still - 1)
    rows = round(0.85 * STREET.height)
    file = io.BytesIO()
    Image.open(folder / "stills" / f"frame{still}.png").crop((0, 0, STREET.width, rows)).save(file, "PNG")
    address = f"http://127.0.0.1:{port}/v1/depth?model=phone&format=npy"
    answer = httpx.post(address, content=file.getvalue(), timeout=60).raise_for_status()
    assert answer.headers["X-Depth-Unit"] == "metre"
    answered_m, truth_m = np.load(io.BytesIO(answer.content)), truth_m[:rows]
    near = truth_m < NEAR_M
    return float(np.median(answered_m[near] / truth_m[near]))
