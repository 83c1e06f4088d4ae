"""Who competes: how each server is started, asked and understood."""

import json
import os
import socket
import struct
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rivals.environments import ENVIRONMENTS, HERE, ROOT, interpreter

HOST = "127.0.0.1"
NAMES = ("ours", "litserve", "bentoml", "ray", "mosec", "triton")
RIVALS = NAMES[1:]
ARMS = ("openvino", "shared", "eager")
SERVERS = HERE / "servers"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server with one engine inside."""

    name: str
    arm: str
    workers: int = 1
    """Of a rival: processes, replicas or instances, among which the cores are divided."""

    def command(self, port: int) -> list[str]:
        """Return what starts it."""
        python = str(interpreter(self.name))
        if self.name == "ours":
            return [python, "-m", "service"]
        if self.name == "bentoml":
            return [
                python,
                "-m",
                "bentoml",
                "serve",
                "with_bentoml:Depth",
                "--host",
                HOST,
                "--port",
                str(port),
                "-q",
            ]
        command = [python, str(SERVERS / f"with_{self.name}.py")]
        if self.name == "mosec":
            command += [
                "--address",
                HOST,
                "--port",
                str(port),
                "--timeout",
                "60000",
                "--wait",  # whose default is 10 ms, for workers that name none
                "0",
                "--log-level",
                "warning",
            ]
        return command

    def environment(self, port: int) -> dict[str, str]:
        """Return the variables that it is started with, beside those that are there."""
        if self.name == "ours":
            backend = "torch" if self.arm == "eager" else "openvino"
            return {
                "DEPTH_HOST": HOST,
                "DEPTH_HTTP_PORT": str(port),
                "DEPTH_GRPC_PORT": "0",
                "DEPTH_BACKEND": backend,
                # Torch as everyone else has it; OpenVINO as our service chooses.
                "DEPTH_PRECISION": "float32" if self.arm == "eager" else "auto",
            }
        chosen = {"RIVAL_WORKERS": str(self.workers), "RIVAL_BATCH": "4"}
        variables = {"RIVAL_ARM": self.arm, "RIVAL_PORT": str(port), "PYTHONPATH": str(ROOT), **chosen}
        bin_folders = [str(ENVIRONMENTS / self.name / "bin")]
        if self.name == "bentoml":
            variables["BENTOML_DO_NOT_TRACK"] = "true"
        if self.name == "ray":
            variables["RAY_USAGE_STATS_ENABLED"] = "0"
        if self.name == "triton":
            packages = sysconfig.get_path("purelib", vars={"base": str(ENVIRONMENTS / "triton")})
            bin_folders.append(f"{packages}/pytriton/tritonserver/bin")
            # Its Python backend must find the library of the very interpreter that runs the model.
            libraries = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH", "")]
            variables["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        variables["PATH"] = os.pathsep.join([*bin_folders, os.environ["PATH"]])
        return variables

    def request(self, image: bytes, wanted: str) -> bytes:
        """Return a whole HTTP request for the depth of a JPEG, as `png16` or `float32`."""
        if self.name in ("mosec", "litserve"):
            path = "/inference" if self.name == "mosec" else "/predict"
            return _post(path, wanted.encode() + b"\0" + image)
        if self.name == "triton":
            return _triton_request(image, wanted)
        path = {"ours": "/v1/depth", "bentoml": "/v1/depth", "ray": "/"}[self.name]
        return _post(f"{path}?format={wanted}", image)

    def unwrap(self, head: bytes, body: bytes) -> bytes:
        """Return the depth map's bytes out of an answer.

        Raises:
            ValueError: The answer is not framed as it should be.
        """
        if self.name != "triton":
            return body
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"inference-header-content-length":
                start = int(value)
                (length,) = struct.unpack_from("<I", body, start)
                return body[start + 4 : start + 4 + length]
        raise ValueError("Triton's answer lacks Inference-Header-Content-Length")


WORKERS = (1, 2, 3, 4)
"""With each of these numbers a rival is tried, and with its best it is measured."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _post(path: str, body: bytes, headers: str = "Content-Type: image/jpeg\r\n") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: identity\r\nAccept: */*\r\n"
    return f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _triton_request(image: bytes, wanted: str) -> bytes:
    tensors = [struct.pack("<I", len(value)) + value for value in (image, wanted.encode())]
    asked = {
        "inputs": [
            {
                "name": name,
                "shape": [1, 1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": len(tensor)},
            }
            for name, tensor in zip(("image", "format"), tensors, strict=True)
        ],
        "outputs": [{"name": "depth", "parameters": {"binary_data": True}}],
    }
    header = json.dumps(asked).encode()
    headers = f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(header)}\r\n"
    return _post("/v2/models/depth/infer", header + b"".join(tensors), headers)


def log_path(folder: Path, contender: Contender) -> Path:
    """Return where a server's output goes."""
    return folder / f"{contender.name}-{contender.arm}.log"
