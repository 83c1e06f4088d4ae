"""Two containers of docker/compose.training.yml that train one network, as two machines would.

Both are on this machine, on its CPU, and meet at a port of it.
"""

import contextlib
import json
import time
from pathlib import Path

from try_stack import PROJECT, Compose, check, free_port, run, say, take_down, wait

FILES = ("docker/compose.training.yml",)
STEPS = 4
DATA = "synthetic:?sequences=1&frames=6"
"""Drawn by each of them; it is the same in both."""


def try_training(folder: Path, image: str, figures: dict[str, object]) -> None:
    """Train for a few steps on both, and look at what they wrote."""
    (runs := folder / "runs").mkdir()
    runs.chmod(0o777)  # the images' user writes here
    (data := folder / "data").mkdir()
    told = {
        "NODES": "2",
        "PROCESSES": "1",
        "HEAD": "localhost",
        "HEAD_PORT": str(free_port()),
        "RUN": "try",
        "RUNS": str(runs),
        "DATA": str(data),
        "TRAINING_IMAGE": image,
        "TRAINING": f"smoke --data '{DATA}' --schedule.steps {STEPS} --batch.size 2",
    }
    # torchrun tells its nodes apart by address and process number, and these have neither of their own.
    machines = [
        Compose(FILES, {**told, "ADDRESS": address}, f"{PROJECT}-{name}")
        for name, address in (("first", "localhost"), ("second", "127.0.0.1"))
    ]
    started_at = time.monotonic()
    with contextlib.ExitStack() as ends:
        for machine in machines:
            ends.callback(take_down, machine)
            machine("up", "--no-build", "--detach", "train-cpu")
        containers = [machine.container("train-cpu") for machine in machines]
        wait(lambda: all(has_ended(one) for one in containers), "both have trained to the end", 600)
        figures["two containers trained in s"] = round(time.monotonic() - started_at, 1)
        said = "".join(run("docker", "logs", one, errors=True) for one in containers)
    check("2 processes" in said, f"they did not train together: {said[-2000:]}")
    command = ("docker", "run", "--rm", "--network", "none", "--volume", f"{runs}:/runs:ro", image)
    info = json.loads(run(*command, "depth-info", "--json", "/runs/try/student.safetensors"))
    steps = info["metadata"]["provenance"]["steps"]
    check(steps == STEPS, f"the checkpoint has seen {steps} steps, of {STEPS}")
    say("two containers have trained one network")


def has_ended(container: str) -> bool:
    """Return whether it has, and well."""
    state = json.loads(run("docker", "inspect", "-f", "{{json .State}}", container))
    restarts = run("docker", "inspect", "-f", "{{.RestartCount}}", container)
    check(
        restarts == "0",
        f"{container} failed: {run('docker', 'logs', '--tail', '30', container, errors=True)}",
    )
    return bool(state["Status"] == "exited" and state["ExitCode"] == 0)
