"""What keeps the service from starting is one line that names the setting to change."""

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from service.backends.choose import cuda_devices
from tests.e2e.process import SERVE, Process
from tests.service.checkpoints import write_checkpoint

OF_GRPC = r"E\d{4} .* add_port\.cc"
"""grpc's own library says so, too, before we can."""
Setup = Callable[[Path], dict[str, str]]


def port_of(server: socket.socket) -> str:
    return str(server.getsockname()[1])


def taken(name: str) -> Setup:
    return lambda folder: {name: "TAKEN"}


FAULTS: dict[str, tuple[str, Setup]] = {
    "a taken HTTP port": ("DEPTH_HTTP_PORT", taken("DEPTH_HTTP_PORT")),
    "a taken gRPC port": ("DEPTH_GRPC_PORT", taken("DEPTH_GRPC_PORT")),
    "an address of another machine": ("DEPTH_HOST", lambda folder: {"DEPTH_HOST": "192.0.2.1"}),
    "no GPU": ("DEPTH_DEVICE", lambda folder: {"DEPTH_DEVICE": "cuda", "DEPTH_BACKEND": "auto"}),
    "a number that is none": ("DEPTH_HTTP_PORT", lambda folder: {"DEPTH_HTTP_PORT": "eighty"}),
    "a folder that is missing": ("DEPTH_MODELS", lambda folder: {"DEPTH_MODELS": str(folder / "missing")}),
    "a certificate without a key": ("DEPTH_TLS_KEY", lambda folder: {"DEPTH_TLS_CERT": str(folder)}),
    "keys that are missing": ("DEPTH_API_KEYS", lambda folder: {"DEPTH_API_KEYS": str(folder / "missing")}),
    "an admin key that is missing": (
        "DEPTH_ADMIN_KEY_FILE",
        lambda folder: {"DEPTH_ADMIN_KEY_FILE": str(folder / "missing")},
    ),
    "no folder for the ready file": (
        "DEPTH_READY_FILE",
        lambda folder: {"DEPTH_READY_FILE": str(folder / "missing" / "ready")},
    ),
    "a ready file that cannot be written": (
        "DEPTH_READY_FILE",
        lambda folder: {"DEPTH_READY_FILE": str(folder)},
    ),
    "no home": ("DEPTH_CACHE_DIR", lambda folder: {"HOME": "/proc/nowhere", "DEPTH_BACKEND": "openvino"}),
    "a cache that is a file": (
        "DEPTH_CACHE_DIR",
        lambda folder: {"DEPTH_CACHE_DIR": str(folder / "student.safetensors"), "DEPTH_BACKEND": "openvino"},
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_keeps_it_from_starting_is_one_line_that_names_the_setting(fault: str, tmp_path: Path) -> None:
    if fault == "no GPU" and cuda_devices():
        pytest.skip("this machine has a GPU")
    setting, setup = FAULTS[fault]
    checkpoint = write_checkpoint(tmp_path / "student.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        chosen = {"DEPTH_MODELS": str(checkpoint), "DEPTH_BACKEND": "simulated", **setup(tmp_path)}
        chosen = {name: port_of(busy) if value == "TAKEN" else value for name, value in chosen.items()}
        process = Process(SERVE, chosen)
        try:
            assert process.wait(120) in (1, 2)
        finally:
            process.kill()
    said = [line for line in process.lines if line["level"] in ("critical", "error", "unstructured")]
    assert "Traceback" not in process.text
    assert setting in said[-1]["message"], said
    ours = [line for line in said if line["level"] != "error" and not re.match(OF_GRPC, line["message"])]
    assert len(ours) == 1, said


def test_a_full_disk_is_named_with_the_setting_to_change(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "student.safetensors")
    (cache := tmp_path / "cache").mkdir()
    inside = f"mount -t tmpfs -o size=64k none {cache} && exec {' '.join(SERVE)}"
    chosen = {"DEPTH_CACHE_DIR": str(cache), "DEPTH_MODELS": str(checkpoint), "DEPTH_BACKEND": "openvino"}
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode:
        pytest.skip("needs unshare, and the right to mount in a namespace of its own")
    process = Process(("unshare", "--map-root-user", "--mount", "sh", "-c", inside), chosen)
    try:
        assert process.wait(240) == 1
    finally:
        process.kill()
    [said] = [line["message"] for line in process.lines if line["level"] == "critical"]
    assert "DEPTH_CACHE_DIR" in said
    assert "Traceback" not in process.text
