"""What signals do, whenever they come: SIGTERM ends with 0, and SIGHUP looks for new checkpoints."""

import signal
import time
from pathlib import Path

import grpc
import httpx
import pytest

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0])
def test_a_signal_to_end_between_listening_and_ready_is_an_orderly_end(
    after_s: float, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "student.safetensors")
    chosen = {"DEPTH_MODELS": str(checkpoint), "DEPTH_CACHE_DIR": str(tmp_path), "DEPTH_LINGER_S": "0"}
    process = Process(SERVE, {**chosen, "DEPTH_BACKEND": "openvino"})  # which exports first
    try:
        process.until("listening")
        time.sleep(after_s)
        process.send(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "ready" not in [line["message"] for line in process.lines]
        assert "Traceback" not in process.text
    finally:
        process.kill()


def test_a_hang_up_looks_for_checkpoints_and_costs_nobody_an_answer(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors")
    environment = {"DEPTH_MODELS": tmp_path, "DEPTH_BACKEND": "simulated", "DEPTH_WATCH_INTERVAL_S": 0}
    with (
        running(SERVE, **environment) as process,
        httpx.Client(base_url=process.url) as client,
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
    ):
        write_checkpoint(tmp_path / "b.safetensors")
        process.send(signal.SIGHUP)
        names: list[str] = []
        photo = (Path(__file__).parents[2] / "service/web/static/samples/city.jpg").read_bytes()
        while names != ["a", "b"]:
            assert client.post("/v1/depth", content=photo).status_code == 200
            assert DepthStub(channel).Predict(pb.PredictRequest(image=photo)).data
            process.send(signal.SIGHUP)
            models = client.get("/v1/models").json()["models"]
            names = [model["name"] for model in models if model["state"] == "ready"]
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_hang_up_while_the_service_starts_or_ends_is_nothing(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "student.safetensors")
    chosen = {"DEPTH_MODELS": str(checkpoint), "DEPTH_BACKEND": "simulated", "DEPTH_LINGER_S": "0.5"}
    process = Process(SERVE, chosen)
    try:
        process.until("listening")
        process.send(signal.SIGHUP)
        process.until("ready")
        process.send(signal.SIGTERM)
        process.until("closing")
        process.send(signal.SIGHUP)
        assert process.wait() == 0
    finally:
        process.kill()
