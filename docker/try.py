"""Build both images, bring the CPU stack up, use it, stop it under load, and take everything down again.

Then likewise with keys and TLS (`try_secured.py`), and two containers train one network (`try_training.py`).

    python docker/try.py              # builds first
    python docker/try.py --no-build   # with the images that are there

It needs a Docker engine, Compose, openssl, and this package installed for development. It says what it saw,
ends with sizes and times, and fails where anything was not as it should be. The variables of
docker-compose.yml hold here too (PROMETHEUS_IMAGE, BASE, ...), and pip's own (PIP_INDEX_URL, ...) go into the
builds, which use whatever builder `docker build` uses (DOCKER_BUILDKIT).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cv2
import grpc
import httpx
import numpy as np
from try_secured import try_secured
from try_stack import ROOT, Compose, StackError, check, count, log, run, say, stack, wait
from try_training import try_training

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

SERVICE_IMAGE, TRAINING_IMAGE = "depth-service:cpu", "depth-training:latest"
BUILD_ARGUMENTS = (
    *("BASE", "TORCH_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST"),
    *("PIP_DEFAULT_TIMEOUT", "VERSION", "REVISION", "CREATED"),
)
LOCAL = ("PIP_FIND_LINKS",)
"""Which may name folders of this machine, that a build cannot see."""
ORDERS = {"http": "POST /v1/depth 200", "grpc": "Predict OK"}
"""What the service logs of each answer."""
SINGLES = 5


def main() -> int:
    """Try everything; 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    try:
        if not arguments.no_build:
            build_images(figures)
        measure_images(figures)
        with tempfile.TemporaryDirectory(prefix="depth-try-") as made:
            (folder := Path(made)).chmod(0o755)
            with stack(Compose(), figures) as compose:
                use(compose, folder, figures)
            try_secured(folder, make_photo())
            try_training(folder, TRAINING_IMAGE, figures)
    except StackError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures, indent=2))
    return 0


def use(compose: "Compose", folder: Path, figures: dict[str, object]) -> None:
    """Use a stack that is up: ask, look into Prometheus, stop under load."""
    photo = folder / "photo.jpg"
    photo.write_bytes(make_photo())
    ask_both_transports(compose, photo.read_bytes())
    look_into_prometheus(compose)
    stop_under_load(compose, photo, figures)


# Images


def build_images(figures: dict[str, object]) -> None:
    """Build both images with whatever builder `docker build` uses."""
    given = {name: os.environ[name] for name in BUILD_ARGUMENTS if os.environ.get(name)}
    reachable = {name: value for name, value in given.items() if not (name in LOCAL and value[0] == "/")}
    options = [word for name, value in reachable.items() for word in ("--build-arg", f"{name}={value}")]
    for image, file, variant in (
        (SERVICE_IMAGE, "service", ["--build-arg", "VARIANT=cpu"]),
        (TRAINING_IMAGE, "training", []),
    ):
        say(f"building {image}")
        started_at = time.monotonic()
        run(
            "docker",
            "build",
            "--quiet",
            "-f",
            f"docker/{file}.Dockerfile",
            "-t",
            image,
            *variant,
            *options,
            ".",
        )
        figures[f"{file} built in s"] = round(time.monotonic() - started_at, 1)


def measure_images(figures: dict[str, object]) -> None:
    """Say how large the images are, and who runs in them."""
    base = int(
        run("docker", "image", "inspect", "-f", "{{.Size}}", os.environ.get("BASE", "debian:trixie-slim"))
    )
    for image in (SERVICE_IMAGE, TRAINING_IMAGE):
        size = int(run("docker", "image", "inspect", "-f", "{{.Size}}", image))
        figures[f"{image} MB"] = round(size / 1e6)
        figures[f"{image} MB above its base"] = round((size - base) / 1e6)
        user = run("docker", "image", "inspect", "-f", "{{.Config.User}}", image)
        check(user == "10001:10001", f"{image} runs as {user!r}")
    said = run(
        "docker", "run", "--rm", "--read-only", "--network", "none", TRAINING_IMAGE, "depth-train", "--help"
    )
    check("smoke" in said, f"{TRAINING_IMAGE} does not know its recipes")


# The stack


def ask_both_transports(compose: Compose, photo: bytes) -> None:
    """Send requests through HTTP and gRPC; the same photograph has the same depth through both."""
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{compose.ports['HTTP']}", timeout=60) as client,
        grpc.insecure_channel(f"127.0.0.1:{compose.ports['GRPC']}") as channel,
    ):
        for _ in range(SINGLES):
            over_http = client.post("/v1/depth", content=photo).raise_for_status()
            over_grpc = DepthStub(channel).Predict(pb.PredictRequest(image=photo), timeout=60)
            check(over_http.content == over_grpc.data, "the transports answer different bytes")
        depth = cv2.imdecode(np.frombuffer(over_http.content, np.uint8), cv2.IMREAD_UNCHANGED)
        check(
            depth is not None and depth.shape == (375, 1242) and depth.dtype == np.uint16, "no depth map came"
        )
        check(depth.max() > depth.min() > 0, "the depth map is flat")
    say(f"{SINGLES} photographs answered through each transport, the same bytes through both")


def look_into_prometheus(compose: Compose) -> None:
    """Find in Prometheus's own API what was just asked, and the alert rules."""
    with httpx.Client(base_url=f"http://127.0.0.1:{compose.ports['PROMETHEUS']}", timeout=30) as client:

        def ask(path: str, **parameters: str) -> dict[str, list[dict[str, Any]]]:
            answer: dict[str, Any] = (
                client.get(f"/api/v1/{path}?{urlencode(parameters)}").raise_for_status().json()
            )
            check(answer["status"] == "success", f"Prometheus answered {answer}")
            return dict(answer["data"])

        def counted() -> bool:
            found = ask("query", query='sum by (transport) (depth_request_seconds_count{outcome="ok"})')[
                "result"
            ]
            return {one["metric"]["transport"]: float(one["value"][1]) for one in found} == {
                "http": SINGLES,
                "grpc": SINGLES,
            }

        wait(counted, f"Prometheus counts {SINGLES} answers of each transport")
        rules = [rule["name"] for group in ask("rules")["groups"] for rule in group["rules"]]
        check(len(rules) > 0, "Prometheus has no alert rules")
        firing = [
            alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"
        ]
        check(not firing, f"alerts fire: {firing}")
    say(f"Prometheus counts them, and watches {len(rules)} alert rules, none of which fires")


def stop_under_load(compose: Compose, photo: Path, figures: dict[str, object]) -> None:
    """Stop the service while it is asked without a pause: each request is answered, or was never taken."""
    container = compose.container("depth-cpu")
    before = {transport: count(compose, said) for transport, said in ORDERS.items()}
    command = ["docker", "run", "--rm", "--interactive", "--network", f"container:{container}"]
    command += ["--volume", f"{photo}:/photo.jpg:ro", SERVICE_IMAGE, "python3", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as callers:
        if callers.stdin is None or callers.stdout is None:
            raise StackError("the callers have no pipes")
        callers.stdin.write((ROOT / "docker" / "load.py").read_text())
        callers.stdin.close()
        check(callers.stdout.readline().strip() == "under load", "the callers did not begin")
        started_at = time.monotonic()
        compose("stop", "--timeout", "35", "depth-cpu")
        figures["stopped under load in s"] = round(time.monotonic() - started_at, 1)
        outcomes: dict[str, int] = json.loads(callers.stdout.read())
    say(f"stopped under load: {outcomes}")
    figures["under load"] = outcomes
    for transport, said in ORDERS.items():
        answered = count(compose, said) - before[transport]
        check(
            outcomes.get(f"{transport} answered") == answered > 0,
            f"the service answered {answered} over {transport}, and {outcomes} arrived",
        )
    fine = {"http answered", "http refused", "grpc answered", "grpc refused"}
    check(set(outcomes) <= fine, f"some requests were lost: {outcomes}")
    closed = [line for line in log(compose) if line["message"] == "closed"]
    check(bool(closed) and closed[-1]["unanswered"] == 0, f"the service left requests unanswered: {closed}")
    status = run("docker", "inspect", "-f", "{{.State.ExitCode}}", container)
    check(status == "0", f"the service ended with status {status}")


def make_photo() -> bytes:
    """Return a JPEG of KITTI's size: a road, a sky and some texture."""
    rows = np.linspace(0, 1, 375)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 18, (375, 1242, 3))
    picture = np.where(rows < 0.45, (235, 206, 160), (90, 95, 100)) * (0.7 + 0.3 * rows) + noise
    return cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8))[1].tobytes()


if __name__ == "__main__":
    sys.exit(main())
