"""The compose files as Compose reads them, and what they promise."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
STACK = ("docker-compose.yml",)
SECURED = ("docker-compose.yml", "docker/compose.secured.yml")
TRAINING = ("docker/compose.training.yml",)
COMPOSES = {"docker-compose": ("docker-compose",), "docker compose": ("docker", "compose")}


def compose(name: str) -> tuple[str, ...]:
    """Return how one Compose is called, or skip where it is not installed."""
    command = COMPOSES[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{name} is not installed")
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{name} is not installed")
    return command


@cache
def read(files: tuple[str, ...], name: str = "docker-compose", **variables: str) -> dict[str, Any]:
    """Return what Compose makes of files, every profile included; it checks them by its own schema."""
    options = [word for file in files for word in ("-f", file)]
    command = [*compose(name), *options, "--profile", "gpu", "--profile", "cpu", "config"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DEPTH_", "PIP_"))}
    done = subprocess.run(
        command, cwd=ROOT, env={**clean, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def written(file: str) -> dict[str, Any]:
    """Return a file as it is written, for what needs no Compose; anchors are resolved, variables are not."""
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    return found


@pytest.mark.parametrize("name", COMPOSES)
@pytest.mark.parametrize("files", [STACK, SECURED, TRAINING], ids=str)
def test_both_kinds_of_compose_read_every_file(name: str, files: tuple[str, ...]) -> None:
    assert read(files, name)["services"]


@pytest.mark.parametrize("file", [*STACK, *TRAINING])
def test_no_container_may_do_more_than_it_has_to(file: str) -> None:
    for name, service in written(file)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert "privileged" not in service, name


def test_nothing_is_reachable_from_elsewhere_until_somebody_says_so() -> None:
    published = [
        port for service in written("docker-compose.yml")["services"].values() for port in service["ports"]
    ]
    assert len(published) == 6
    assert all(":-127.0.0.1:" in port for port in published)


def test_each_profile_has_one_service_that_prometheus_finds_by_the_same_name() -> None:
    services = written("docker-compose.yml")["services"]
    config = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    secured = yaml.safe_load((ROOT / "docker" / "prometheus-secured.yml").read_text())
    [target] = config["scrape_configs"][0]["static_configs"][0]["targets"]
    for profile in ("gpu", "cpu"):
        found = [name for name, one in services.items() if profile in one["profiles"]]
        assert sorted(found) == [f"depth-{profile}", "grafana", "prometheus"]
        assert target.partition(":")[0] in services[f"depth-{profile}"]["networks"]["default"]["aliases"]
    [over_tls] = secured["scrape_configs"]
    assert over_tls["static_configs"] == config["scrape_configs"][0]["static_configs"]
    assert over_tls["job_name"] == config["scrape_configs"][0]["job_name"]
    assert (over_tls["scheme"], secured["global"]) == ("https", config["global"])


def test_the_gpu_s_profile_asks_for_the_cards_and_for_nothing_but_them() -> None:
    gpu = read(STACK)["services"]["depth-gpu"]
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert device["count"] in (-1, "all")
    assert gpu["environment"]["DEPTH_DEVICE"] == "cuda"
    assert gpu["build"]["args"]["VARIANT"] == "gpu"
    assert "depth-gpu" not in str(read(STACK)["services"]["depth-cpu"])


def test_every_setting_that_is_passed_on_exists() -> None:
    known = {f"DEPTH_{field.upper()}" for field in Settings.model_fields}
    passed = {
        name
        for file in SECURED
        for service in written(file)["services"].values()
        for name in service.get("environment", {})
        if name.startswith("DEPTH_")
    }
    assert len(passed) > 10
    assert passed <= known


def test_a_setting_of_the_shell_reaches_the_service_and_others_are_left_out() -> None:
    environment = read(STACK, DEPTH_LOG_LEVEL="debug")["services"]["depth-cpu"]["environment"]
    assert environment["DEPTH_LOG_LEVEL"] == "debug"
    assert environment["DEPTH_THREADS"] is None  # unset in the container, not empty


def test_the_secured_files_come_from_one_folder() -> None:
    found = read(SECURED, SECRETS="/srv/secrets")
    files = {name: secret["file"] for name, secret in found["secrets"].items()}
    assert all(file.startswith("/srv/secrets/") for file in files.values())
    environment = found["services"]["depth-cpu"]["environment"]
    mounted = {f"/run/secrets/{name}" for name in files}
    assert {environment[name] for name in ("DEPTH_API_KEYS", "DEPTH_ADMIN_KEY_FILE")} < mounted
    assert {environment[name] for name in ("DEPTH_TLS_CERT", "DEPTH_TLS_KEY")} < mounted


def test_grafana_starts_when_prometheus_answers() -> None:
    services = written("docker-compose.yml")["services"]
    assert services["grafana"]["depends_on"] == {"prometheus": {"condition": "service_healthy"}}
    assert "healthcheck" in services["prometheus"]


def test_a_training_run_is_told_its_machines_and_its_recipe() -> None:
    found = read(TRAINING, NODES="4", HEAD="first", PROCESSES="8", RUN="street", TRAINING="distil --seed 3")
    for service in found["services"].values():
        command = service["command"]
        text = " ".join(command) if isinstance(command, list) else " ".join(command.split())
        assert text.startswith("torchrun --nnodes=4 --nproc-per-node=8 "), text
        assert "--rdzv-endpoint=first:29400" in text
        assert text.endswith("--module training.train distil --seed 3 --folder /runs/street"), text


def test_the_dashboard_and_the_rules_are_where_they_are_mounted_from() -> None:
    for service in written("docker-compose.yml")["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (ROOT / source).is_dir(), source
    dashboards = json.loads((ROOT / "docker" / "grafana" / "dashboards" / "depth.json").read_text())
    assert dashboards["panels"]
