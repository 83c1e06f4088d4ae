from pathlib import Path

import numpy as np
import pytest

from tests.service.checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Three smooth pictures of the tiny network's size."""
    import cv2

    coarse = np.random.default_rng(0).integers(0, 255, (3, 4, 6, 3), np.uint8)
    return np.stack([cv2.resize(one, (96, 64), interpolation=cv2.INTER_CUBIC) for one in coarse])
