"""The service as a process of its own, to be measured from outside."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
_READY_WITHIN_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A service that is ready."""

    process: psutil.Process
    http_port: int
    grpc_port: int
    ready_after_s: float
    """From the start of its process."""
    log: Path

    def cpu_s(self) -> float:
        """Return the processor time that it has used, in the program and in the kernel for it."""
        used = self.process.cpu_times()
        return used.user + used.system


@contextmanager
def serving(root: Path = ROOT, **settings: object) -> Iterator[Serving]:
    """Run the service for as long as the ``with`` lasts.

    Args:
        root: The checkout whose service it is.
        settings: Its settings, by their names in `service/settings.py`.

    Raises:
        RuntimeError: It ended before it was ready, or did not become so.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready_file, log = Path(folder, "ready.json"), Path(folder, "log")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEPTH_")}
        chosen = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "ready_file": ready_file, **settings}
        environment = (
            inherited
            | {"PYTHONPATH": str(root)}
            | {f"DEPTH_{name.upper()}": str(value) for name, value in chosen.items()}
        )
        began_s = time.monotonic()
        with (
            log.open("wb") as written,
            subprocess.Popen(
                [sys.executable, "-m", "service"], cwd=root, env=environment, stderr=written
            ) as process,
        ):
            try:
                while not ready_file.exists():
                    if process.poll() is not None or time.monotonic() - began_s > _READY_WITHIN_S:
                        raise RuntimeError(
                            f"the service is not ready; its log ends: {log.read_text()[-800:]}"
                        )
                    time.sleep(0.005)
                ready_after_s = time.monotonic() - began_s
                ports = json.loads(ready_file.read_text())
                yield Serving(
                    process=psutil.Process(process.pid),
                    http_port=ports["http_port"],
                    grpc_port=ports["grpc_port"],
                    ready_after_s=ready_after_s,
                    log=log,
                )
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
