"""The service as a process of its own, started on free ports and watched through its log."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ECHO = (sys.executable, "-m", "tests.e2e.echo_server")
SERVE = (sys.executable, "-m", "service")


class Process:
    """A running service.

    Args:
        command: What to run.
        environment: Beside, and stronger than, our own without its settings.
    """

    def __init__(self, command: tuple[str, ...], environment: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEPTH_")}
        defaults = {
            "DEPTH_MODELS": str(ROOT / "tests"),  # a folder that is there, whatever ships
            "DEPTH_HOST": "127.0.0.1",
            "DEPTH_HTTP_PORT": "0",
            "DEPTH_GRPC_PORT": "0",
        }
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._popen = subprocess.Popen(
            command, cwd=ROOT, env={**inherited, **defaults, **environment}, stderr=subprocess.PIPE, text=True
        )
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self._popen.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text.rstrip(), "level": "unstructured"}
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def until(self, message: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for the first log line that says so."""
        ends_at = time.monotonic() + timeout_s
        with self._news:
            while True:
                for line in self.lines:
                    if line["message"] == message:
                        return line
                left_s = ends_at - time.monotonic()
                if left_s <= 0 or not (self._reader.is_alive() or self._popen.poll() is None):
                    raise AssertionError(f"never said {message!r}, but: {self.lines[-10:]}")
                self._news.wait(min(left_s, 0.5))

    def send(self, what: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(what)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for the end; answer the exit status."""
        status = self._popen.wait(timeout_s)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        self._reader.join(5)
        self._popen.stderr.close()

    @property
    def text(self) -> str:
        """Everything that it said."""
        return "\n".join(map(str, self.lines))

    @property
    def http_port(self) -> int:
        return self.until("listening")["http_port"]

    @property
    def grpc_port(self) -> int:
        return self.until("listening")["grpc_port"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


@contextmanager
def running(
    command: tuple[str, ...] = ECHO, ready_within_s: float = 300.0, **environment: object
) -> Iterator[Process]:
    """Run a service until it is ready, and for as long as the ``with`` lasts."""
    process = Process(command, {name: str(value) for name, value in environment.items()})
    try:
        process.until("ready", ready_within_s)
        yield process
    finally:
        process.kill()
