from collections.abc import Iterator

import pytest

from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Everything but a network's arithmetic: depth is a function of each pixel's green."""
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors", metres_per_unit=2.0)
    with running(SERVE, DEPTH_MODELS=folder, DEPTH_BACKEND="simulated") as process:
        yield process
