"""The load generator: compiled where needed, run, and its report read."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("client.c")
FLAGS = ("-O2", "-D_GNU_SOURCE")


@dataclass(frozen=True, kw_only=True)
class Body:
    """A distinct answer to a request, and how often it came."""

    request: int
    """The request's number."""
    hash: str
    count: int
    bytes: int
    status: int

    @property
    def file(self) -> str:
        """The name of the file that holds it, head and all."""
        return f"{self.request}-{self.hash}"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the load generator saw while it measured; `bodies` are of the warm-up too."""

    seconds: float
    answers: int
    """With status 200."""
    failures: int
    """With any other."""
    broken: int
    """Connections that were lost within an answer."""
    client_cpu_s: float
    body_bytes: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    latencies_ms: tuple[float, ...]
    """Of each answer, the quickest first."""
    bodies: tuple[Body, ...]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long is measured."""

    warm_s: float = 0.7
    measure_s: float = 10.0
    most_s: float = 60.0
    """After which a load ends, whatever has come back."""


def compiled(folder: Path) -> Path:
    """Return the client's executable, compiled unless it is newer than its source.

    Raises:
        subprocess.CalledProcessError: It cannot be compiled.
    """
    program = folder / "client"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", *FLAGS, "-o", program, SOURCE], check=True)
    return program


def read_load(line: str) -> Load:
    """Read the client's last line."""
    told: dict[str, Any] = json.loads(line)
    bodies = tuple(Body(**each) for each in told.pop("bodies"))
    return Load(bodies=bodies, latencies_ms=tuple(told.pop("latencies_ms")), **told)


def put_load(
    program: Path,
    address: tuple[str, int],
    requests: Sequence[Path],
    *,
    connections: int,
    pace: Pace,
    folder: Path,
    on_begin: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> Load:
    """Ask a server for a while.

    Args:
        program: As `compiled` returns it.
        address: Host and port.
        requests: Files of whole HTTP requests, asked in turn.
        connections: Each has one request in flight.
        pace: How long.
        folder: Empty; gets each distinct answer.
        on_begin: Called when warm.
        on_end: Called when done.

    Raises:
        RuntimeError: The client gave up; the message is its own.
    """
    numbers = [connections, pace.warm_s, pace.measure_s, 2 * connections, pace.most_s]
    command = [program, *address, *numbers, folder, *requests]
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        if client.stdout is None or client.stderr is None:
            raise RuntimeError("the client has no output")
        last, warm = "", False
        for line in client.stdout:
            if line == "begin\n":
                warm = True
                on_begin()
            else:
                on_end()
                last = line
        complaint = client.stderr.read()
    if client.returncode or not last:
        raise RuntimeError(f"the client ended with {client.returncode}: {complaint.strip()}")
    if not warm:
        raise RuntimeError(f"the first {connections} answers took longer than {pace.most_s:g} s")
    return read_load(last)
