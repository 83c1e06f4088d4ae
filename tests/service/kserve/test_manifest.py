from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.service.kserve.flat import FlatEngine
from tests.service.opened import http_client, make_frontend

MANIFEST = Path(__file__).parents[3] / "docker" / "kserve" / "inferenceservice.yaml"
OF_KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
"""The predictor's own fields that the manifest uses; all others are a pod's."""


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    loaded = yaml.safe_load(MANIFEST.read_text())
    assert (loaded["apiVersion"], loaded["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    return loaded


def test_a_predictor_without_kserve_s_own_fields_is_a_pod(service: dict[str, Any]) -> None:
    predictor = service["spec"]["predictor"]
    pod = {name: value for name, value in predictor.items() if name not in OF_KSERVE}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "depth"}, "spec": pod}
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    assert list(service["spec"]) == ["predictor"]
    assert predictor["minReplicas"] <= predictor["maxReplicas"]


async def test_kserve_finds_its_container_the_ports_and_what_the_probes_ask(service: dict[str, Any]) -> None:
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"
    fields = Settings.model_fields
    ports = [port["containerPort"] for port in container["ports"]]
    assert ports == [fields["http_port"].default, fields["grpc_port"].default]
    engine = FlatEngine()
    async with http_client(make_frontend(engine)) as client:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == ports[0]
            assert (await client.get(asked["path"])).status_code == 200
        engine.ready = False
        assert (await client.get(container["readinessProbe"]["httpGet"]["path"])).status_code == 503
        assert (await client.get(container["livenessProbe"]["httpGet"]["path"])).status_code == 200


def test_a_pod_is_given_the_time_that_closing_takes(service: dict[str, Any]) -> None:
    predictor = service["spec"]["predictor"]
    fields = Settings.model_fields
    waits_s = predictor["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    closing_s = fields["drain_timeout_s"].default + fields["linger_s"].default
    assert predictor["terminationGracePeriodSeconds"] > waits_s + closing_s
