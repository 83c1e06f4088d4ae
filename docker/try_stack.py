"""A Compose project of our own, as `docker/try.py` uses it: up until healthy, and down whatever happens."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT = "depth-try"


class StackError(Exception):
    """Something was not as it should be."""


class Compose:
    """A project of our own, on ports that nobody else has.

    Args:
        files: What is read, one over the other.
        variables: Beside, and stronger than, those of the shell.
        project: What its containers are known by.
    """

    def __init__(
        self,
        files: Sequence[str] = ("docker-compose.yml",),
        variables: Mapping[str, str] | None = None,
        project: str = PROJECT,
    ) -> None:
        self.project = project
        self.ports = {name: free_port() for name in ("HTTP", "GRPC", "PROMETHEUS", "GRAFANA")}
        published = {f"PUBLISH_{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        ours = {**published, **(variables or {}), "COMPOSE_PROJECT_NAME": project}
        self._environment = {**os.environ, **ours}
        self.command = compose_command()
        self._files = [word for file in files for word in ("-f", file)]

    def __call__(self, *words: str) -> str:
        """Run a compose command on the CPU stack."""
        return run(*self.command, *self._files, "--profile", "cpu", *words, environment=self._environment)

    def container(self, service: str) -> str:
        """Return the identifier of a service's container."""
        return (
            self("ps", "--quiet", "--all", service)
            if self.command[-1] == "compose"
            else self("ps", "-q", service)
        )


@contextlib.contextmanager
def stack(compose: Compose, figures: dict[str, object]) -> Iterator[Compose]:
    """Bring the CPU stack up until its health checks pass; take it down whatever happens."""
    services = ["depth-cpu", "prometheus"]
    if there("GRAFANA_IMAGE", "grafana/grafana:13.2.3"):
        services.append("grafana")
    else:
        say("there is no image of Grafana here: the stack goes without")
    try:
        started_at = time.monotonic()
        compose("up", "--no-build", "--detach", *services)
        for service in services:
            wait(lambda name=service: health(compose.container(name)) == "healthy", f"{service} is healthy")
            figures[f"{service} healthy after s"] = round(time.monotonic() - started_at, 1)
        for line in log(compose):
            if line["message"] == "ready":
                figures["service ready after s"] = line["after_s"]
        yield compose
    except StackError:
        print(compose("logs", "--tail", "30"), file=sys.stderr)
        raise
    finally:
        take_down(compose)


def take_down(compose: Compose) -> None:
    """Stop what runs, and see that no container is left."""
    compose("down", "--volumes", "--remove-orphans", "--timeout", "35")
    ours = f"label=com.docker.compose.project={compose.project}"
    left = run("docker", "ps", "--all", "--quiet", "--filter", ours)
    check(not left, f"containers are left: {left}")
    say("everything is down")


def log(compose: Compose) -> list[dict[str, Any]]:
    """Return what the service has logged."""
    said = run("docker", "logs", compose.container("depth-cpu"), errors=True)
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def count(compose: Compose, message: str) -> int:
    """Return how often the service has logged a message."""
    return sum(line["message"] == message for line in log(compose))


def health(container: str) -> str:
    """Return what the engine says of a container's health."""
    state = json.loads(run("docker", "inspect", "-f", "{{json .State}}", container))
    check(state["Running"], f"{container} ended with status {state['ExitCode']}")
    return str(state["Health"]["Status"])


def there(variable: str, default: str) -> bool:
    """Return whether an image is here, or can be pulled."""
    image = os.environ.get(variable, default)
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return (
        here.returncode == 0
        or not subprocess.run(
            ["docker", "pull", "--quiet", image], capture_output=True, check=False
        ).returncode
    )


def compose_command() -> Sequence[str]:
    """Return how Compose is called here: as a plugin, or as the program of old."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ("docker", "compose") if plugin.returncode == 0 else ("docker-compose",)


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait(until: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
    """Wait until something is so."""
    ends_at = time.monotonic() + timeout_s
    while not until():
        check(time.monotonic() < ends_at, f"after {timeout_s:g} s it was not so that {what}")
        time.sleep(0.5)
    say(what)


def run(*command: str, environment: dict[str, str] | None = None, errors: bool = False) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return (done.stdout + done.stderr * errors).strip()


def check(right: bool, otherwise: str) -> None:
    """Fail where something is not right."""
    if not right:
        raise StackError(otherwise)


def say(what: str) -> None:
    """Say what was seen."""
    print(what, flush=True)
