import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.contract.errors import InvalidImage
from service.contract.request import DepthRequest
from service.engine import Engine
from service.kserve.statistics import model_statistics
from service.telemetry.metrics import Metrics
from service.transports.frontend import Frontend
from tests.service.checkpoints import write_checkpoint
from tests.service.kserve.wire import encoded
from tests.service.opened import http_client, settings


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


async def test_a_call_of_several_images_is_one_call_and_several_images(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "student.safetensors")
    chosen = {"models": path, "backend": "simulated", "watch_interval_s": 0.0}
    metrics = Metrics(CollectorRegistry())
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    photo, infer = file.getvalue(), "/v2/models/student/infer"
    async with Engine(settings(**chosen), metrics) as engine:
        await engine.wait_ready()
        async with http_client(Frontend(engine, settings(**chosen), metrics)) as client:
            trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
            for images, status in (((photo,) * 3, 200), ((photo,), 200), ((photo, b"no image"), 400)):
                request = encoded(*images, parameters={"size": "model"})
                assert (await client.post(infer, json=request, headers=trace)).status_code == status
            parts = [("image", ("a.png", each)) for each in (photo, b"no image")]
            assert (await client.post("/v1/depth/batch", files=parts)).status_code == 200
            unknown = await client.post("/v2/models/nobody/infer", json=encoded(photo))
            assert (unknown.status_code, "Request for unknown model" in unknown.text) == (404, True)
            (said,) = (await client.get("/v2/models/student/stats")).json()["model_stats"]
            figures = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert [said["inference_stats"][name]["count"] for name in ("success", "queue", "fail")] == [2, 2, 2]
    assert said["inference_count"] >= 5
    counts = {
        (sample.name, sample.labels["transport"], sample.labels["model"], sample.labels["outcome"]): sample
        for family in text_string_to_metric_families(figures.text)
        for sample in family.samples
        if sample.name == "depth_request_seconds_count"
    }
    assert {key[1:]: sample.value for key, sample in counts.items()} == {
        ("kserve_http", "student", "ok"): 2,
        ("kserve_http", "student", "invalid"): 1,
        ("kserve_http", "unknown", "invalid"): 1,
        ("http", "student", "invalid"): 1,
    }
    assert f'trace_id="{"ab" * 16}"' in figures.text  # exemplars lead from a slow bucket to its trace
