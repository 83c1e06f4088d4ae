from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from service.predict.command import main
from tests.service.checkpoints import write_checkpoint

Predict = Callable[..., None]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors")


@pytest.fixture(scope="session")
def relative_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "relative.safetensors"
    return write_checkpoint(path, metres_per_unit=None)


def picture(seed: int, height: int = 90, width: int = 150) -> np.ndarray:
    """A smooth photograph of nothing."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs of two sizes."""
    made = tmp_path / "photographs"
    made.mkdir()
    for seed in range(5):
        Image.fromarray(picture(seed, 90 + 20 * (seed % 2))).save(made / f"{seed}.png")
    return made


@pytest.fixture
def predict(checkpoint: Path, tmp_path: Path) -> Predict:
    """The command, in float32 on the reference's own backend."""

    def run(*arguments: str | Path, checkpoint: Path = checkpoint) -> None:
        given = [str(argument) for argument in arguments]
        options = {"--backend": "torch", "--device": "cpu", "--precision": "float32"}
        usual = [word for pair in options.items() if pair[0] not in given for word in pair]
        main([*usual, "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), *given])

    return run
