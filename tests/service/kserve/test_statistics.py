from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine import Engine
from service.errors import InvalidImage
from service.kserve.statistics import model_statistics
from service.metrics import Metrics
from service.request import DepthRequest
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import settings


async def test_an_engine_s_work_is_counted_once_in_every_phase(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "student.safetensors")
    chosen = settings(models=path, backend="simulated", watch_interval_s=0.0)
    async with Engine(chosen, Metrics(CollectorRegistry())) as engine:
        await engine.wait_ready()
        for _ in range(3):
            await engine.depth(DepthRequest(image=np.zeros((8, 8, 3), np.uint8)))
        with pytest.raises(InvalidImage):
            await engine.depth(DepthRequest(image=b"no image"))
        (said,) = model_statistics(engine.models())["model_stats"]
    assert (said["inference_count"], said["execution_count"]) == (3, 3)
    # Clients read versions as numbers, and milliseconds of Unix time.
    assert int(said["version"]) > 0
    assert said["last_inference"] > 1.7e12
    phases = said["inference_stats"]
    assert phases["fail"]["count"] == 1
    # perf_analyzer refuses statistics whose phases have different counts.
    in_turn = [phases[name] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert [phase["count"] for phase in (phases["success"], *in_turn)] == [3] * 5
    assert all(phase["ns"] > 0 for phase in (phases["fail"], *in_turn))
    assert sum(phase["ns"] for phase in in_turn) <= phases["success"]["ns"]
    assert [(each["batch_size"], each["compute_infer"]["count"]) for each in said["batch_stats"]] == [(1, 3)]
