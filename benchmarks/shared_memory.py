"""What shared memory saves a client on the service's own machine: a 1080p picture in, a map of floats out.

    python benchmarks/shared_memory.py [--rounds 15] [--output benchmarks/shared_memory.md]

tritonclient (from `.venv/clients`) asks over HTTP and gRPC, by turns with tensors that are sent and with
tensors in shared memory. The service runs as a process of its own with a network that costs nothing, so that
what is left is transport, resizing and floats.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import processor  # noqa: E402
from tests.clients.places import FOLDER  # noqa: E402
from tests.e2e.process import SERVE, running  # noqa: E402
from tests.service.checkpoints import write_checkpoint  # noqa: E402

CLIENT = """
import json, secrets, statistics, sys, time
import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
import tritonclient.utils.shared_memory as shm

addresses, rounds = {"HTTP": sys.argv[1], "gRPC": sys.argv[2]}, int(sys.argv[3])
picture = np.random.default_rng(0).integers(0, 255, (1, 1080, 1920, 3), np.uint8)
depth_bytes = 1080 * 1920 * 4
key = "depth_" + secrets.token_hex(4)
region = shm.create_shared_memory_region("own", key, picture.nbytes + depth_bytes)
times = {}

def sent(module, client):
    image = module.InferInput("rgb_uint8", list(picture.shape), "UINT8")
    image.set_data_from_numpy(picture)
    return client.infer("student", [image], outputs=[module.InferRequestedOutput("depth")]).as_numpy("depth")

def shared(module, client):
    shm.set_shared_memory_region(region, [picture])
    image = module.InferInput("rgb_uint8", list(picture.shape), "UINT8")
    image.set_shared_memory("own", picture.nbytes)
    output = module.InferRequestedOutput("depth")
    output.set_shared_memory("own", depth_bytes, offset=picture.nbytes)
    client.infer("student", [image], outputs=[output])
    return shm.get_contents_as_numpy(region, np.float32, [1, 1080, 1920], offset=picture.nbytes)

try:
    clients = []
    for name, module in (("HTTP", over_http), ("gRPC", over_grpc)):
        client = module.InferenceServerClient(addresses[name])
        client.register_system_shared_memory("own" , key, picture.nbytes + depth_bytes)
        clients.append((name, module, client))
        client_maps = [ask(module, client).copy() for ask in (sent, shared)]
        np.testing.assert_array_equal(*client_maps)
        client.unregister_system_shared_memory("own")
    clients[0][2].register_system_shared_memory("own", key, picture.nbytes + depth_bytes)
    for _ in range(rounds):
        for name, module, client in clients:
            for ask in (sent, shared):
                began = time.perf_counter()
                ask(module, client)
                times.setdefault(name + " " + ask.__name__, []).append(time.perf_counter() - began)
finally:
    shm.destroy_shared_memory_region(region)
print(json.dumps({name: statistics.median(taken) * 1e3 for name, taken in times.items()}))
"""


def main() -> None:
    """Measure, print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "student.safetensors", height=192, width=640)
        chosen = {
            "DEPTH_MODELS": folder,
            "DEPTH_BACKEND": "simulated",
            "DEPTH_SHARED_MEMORY_PREFIX": "depth_",
        }
        with running(SERVE, **chosen) as process:
            ports = (f"127.0.0.1:{process.http_port}", f"127.0.0.1:{process.grpc_port}")
            command = [FOLDER / "bin" / "python", "-c", CLIENT, *ports, str(arguments.rounds)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout)
    lines = [
        "# Shared memory between a client and the service",
        "",
        "By `python benchmarks/shared_memory.py --output benchmarks/shared_memory.md`: tritonclient asks "
        "for the depth of a 1920x1080 picture (6.2 MB) as float32 (8.3 MB), with a network that costs "
        f"nothing. Median of {arguments.rounds} rounds that took turns.",
        "",
        f"{processor()}, {os.cpu_count()} cores, {date.today()}; other work shared them.",
        "",
        "| transport | sent, ms | in shared memory, ms | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name in ("HTTP", "gRPC"):
        sent, shared = took[f"{name} sent"], took[f"{name} shared"]
        lines.append(f"| {name} | {sent:.1f} | {shared:.1f} | {shared / sent:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
