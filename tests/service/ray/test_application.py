"""What Ray is told to run, without a cluster."""

from typing import Any

import pytest
import yaml

pytest.importorskip("ray", reason="Ray is not installed: pip install 'vfm-depth[ray]'")

from ray._common.utils import import_attr
from ray.serve.schema import ServeDeploySchema

from service.ray.application import build
from service.ray.replica import share_of_node
from service.settings import Settings
from tests.e2e.process import ROOT
from tests.service.opened import settings


@pytest.fixture
def config() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "ray" / "serve.yaml").read_text())
    ServeDeploySchema.model_validate(read)
    return read


def test_the_config_file_leads_to_what_exists(config: dict[str, Any]) -> None:
    [application] = config["applications"]
    assert import_attr(application["import_path"]) is build
    for path in config["grpc_options"]["grpc_servicer_functions"]:
        assert callable(import_attr(path))
    [deployment] = application["deployments"]
    built = build(application["args"])._bound_deployment
    assert built.name == deployment["name"]


def test_the_config_file_s_times_fit_the_service_s(config: dict[str, Any]) -> None:
    [application] = config["applications"]
    [deployment] = application["deployments"]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    # Ray waits for the requests, then closes the engine, which waits for what is left.
    assert deployment["graceful_shutdown_timeout_s"] > defaults["request_timeout_s"]
    assert deployment["max_ongoing_requests"] <= defaults["queue_items"]
    assert deployment["autoscaling_config"]["target_ongoing_requests"] < deployment["max_ongoing_requests"]
    # A stream lasts longer than any request: Ray must set no end to it.
    assert "request_timeout_s" not in config["http_options"] | config["grpc_options"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"bach_delay_s": 1}, "bach_delay_s is set, but there is no such setting"),
        ({"http_port": 80}, "http_port is set, but has no effect on Ray"),
        ({"tls_cert": "a.crt"}, "tls_cert is set, but has no effect"),
        ({"admin_key": "secret"}, "admin_key is set, but has no effect"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        build(arguments)


@pytest.mark.parametrize(
    ("chosen", "assigned", "expected"),
    [
        ({}, {"CPU": 4.0}, (4, 4)),
        ({"instances": 2}, {"CPU": 4.0}, (2, 4)),
        ({"threads": 7}, {"CPU": 4.0}, (7, 4)),
        ({"codec_threads": 1}, {"CPU": 0.5}, (1, 1)),
        ({}, {"GPU": 1.0}, (1, 1)),
    ],
)
def test_a_replica_takes_its_share_of_the_node(
    chosen: dict[str, Any], assigned: dict[str, float], expected: tuple[int, int]
) -> None:
    shared = share_of_node(settings(**chosen), assigned)
    assert (shared.threads, shared.codec_threads) == expected
