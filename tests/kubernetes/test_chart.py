"""The Helm chart: what it sends to a cluster fits the cluster's schemas and the service's own facts."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.kubernetes.manifests import (
    CHART,
    NEWEST,
    OLDEST,
    ROOT,
    Manifest,
    only,
    read,
    render,
    run_helm,
    validate,
)
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, http_client, make_frontend

EVERYTHING: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {
        "max_body_bytes": 67108864,
        "batch_delay_s": 0.002,
        "cuda_graphs": False,
        "log_level": "debug",
    },
    "models": {"existingClaim": "models", "subPath": "depth"},
    "secrets": {"apiKeys": "keys", "adminKey": "admin", "tls": "tls"},
    "gpu": {"count": 1},
    "runtimeClassName": "nvidia",
    "autoscaling": {"kind": "keda"},
    "metrics": {
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "tlsConfig": {
                "ca": {"secret": {"name": "tls", "key": "ca.crt"}},
                "serverName": "depth.vision.svc",
            },
        }
    },
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"name": "web"}}}],
        "egress": [{"ports": [{"port": 4318, "protocol": "TCP"}]}],
    },
    "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "podAnnotations": {"team": "vision"},
    "podLabels": {"tier": "inference"},
    "nodeSelector": {"gpu": "h100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}},
}
VARIATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hpa": {"autoscaling": {"kind": "hpa"}, "metrics": {"serviceMonitor": {"enabled": True}}},
    "everything": EVERYTHING,
    "client certificates": {"secrets": {"tls": "tls", "clientCa": "authority"}},
}


@pytest.fixture(params=VARIATIONS)
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return render(tmp_path, VARIATIONS[request.param])


@pytest.fixture
def plain(tmp_path: Path) -> list[Manifest]:
    return render(tmp_path, {})


def pod_of(manifests: list[Manifest]) -> Manifest:
    return only(manifests, "Deployment")["spec"]["template"]


def container_of(manifests: list[Manifest]) -> Manifest:
    [container] = pod_of(manifests)["spec"]["containers"]
    return container


def exported() -> set[str]:
    return {sample.name for family in registry_after_start().collect() for sample in family.samples}


def registry_after_start() -> CollectorRegistry:
    metrics = Metrics(CollectorRegistry())
    metrics.queue_length.labels("student").set(0)
    return metrics.registry


# What a cluster says to it


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_fits_the_schema_of_its_kind(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        validate(manifest, version)


def test_a_field_that_no_cluster_knows_would_be_seen(plain: list[Manifest]) -> None:
    container_of(plain)["readynessProbe"] = {}
    with pytest.raises(Exception, match="readynessProbe"):
        validate(only(plain, "Deployment"), NEWEST)


def test_helm_finds_nothing_wrong() -> None:
    told = run_helm("lint", "--strict", str(CHART))
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        "settings.bach_delay_s=1",
        "replica=3",
        "autoscaling.kind=magic",
        "settings.http_port=80",
        "secrets.clientCa=a",
    ],
)
def test_values_that_mean_nothing_are_refused(wrong: str) -> None:
    told = run_helm("template", "depth", str(CHART), "--set", wrong)
    assert told.returncode != 0
    assert wrong.split("=")[0].split(".")[-1] in told.stderr


# What the service says to it


def test_the_settings_that_can_be_chosen_are_the_service_s() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    chosen = set(schema["properties"]["settings"]["properties"])
    template = (CHART / "templates" / "_names.tpl").read_text()
    decided = {name.lower() for name in re.findall(r"^DEPTH_([A-Z_]+):", template, flags=re.MULTILINE)}
    elsewhere = {"host", "admin_key", "reuse_port"}  # all addresses; by file alone; a pod has one process
    assert chosen | decided | elsewhere == set(Settings.model_fields)
    assert not chosen & decided


def test_the_service_reads_every_setting_as_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = VARIATIONS["everything"] | {"secrets": {}, "models": {}}
    data = only(render(tmp_path, values), "ConfigMap")["data"]
    assert {name.removeprefix("DEPTH_").lower() for name in data} <= set(Settings.model_fields)
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    for name, value in EVERYTHING["settings"].items():
        assert getattr(settings, name) == value
    assert (settings.http_port, settings.grpc_port) == (8000, 8001)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"gpu": {"count": 1}}, "cuda"),
        ({"gpu": {"count": 2}, "settings": {"device": "cuda:0"}}, "cuda:0"),
    ],
)
def test_a_pod_that_is_promised_a_gpu_does_not_serve_from_its_cpu(
    values: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    manifests = render(tmp_path, values)
    limits = container_of(manifests)["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == values.get("gpu", {}).get("count")
    assert only(manifests, "ConfigMap")["data"].get("DEPTH_DEVICE") == expected


def test_files_that_settings_name_are_mounted(tmp_path: Path) -> None:
    for values in VARIATIONS.values():
        manifests = render(tmp_path, values)
        data = only(manifests, "ConfigMap")["data"]
        mounts = {mount["name"]: mount for mount in container_of(manifests)["volumeMounts"]}
        paths = [Path(value) for value in data.values() if value.startswith("/")]
        for path in paths:
            assert [m for m in mounts.values() if path.is_relative_to(m["mountPath"])], path
        volumes = {volume["name"]: volume for volume in pod_of(manifests)["spec"]["volumes"]}
        assert set(volumes) == set(mounts)
        # The root is read-only, so what is written lies in volumes of the pod's own.
        for name in ("DEPTH_CACHE_DIR", "DEPTH_READY_FILE"):
            [mount] = [m for m in mounts.values() if Path(data[name]).is_relative_to(m["mountPath"])]
            assert "emptyDir" in volumes[mount["name"]]
            assert not mount.get("readOnly")


async def test_what_the_kubelet_asks_is_answered(plain: list[Manifest]) -> None:
    container = container_of(plain)
    frontend = make_frontend(EchoEngine())
    async with http_client(frontend) as client:
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
            assert (await client.get(container[probe]["httpGet"]["path"])).status_code == 200
    assert container["readinessProbe"]["grpc"] == {"port": 8001}
    async with grpc_channel(frontend) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "http": 8000,
        "grpc": 8001,
    }


@pytest.mark.parametrize(
    ("secrets", "probes"),
    [
        ({"tls": "tls"}, ("httpGet", "httpGet", "httpGet")),
        ({"tls": "tls", "clientCa": "authority"}, ("exec", "exec", "tcpSocket")),
    ],
)
def test_with_certificates_the_kubelet_asks_what_it_can(
    tmp_path: Path, secrets: dict[str, str], probes: tuple[str, ...]
) -> None:
    container = container_of(render(tmp_path, {"secrets": secrets}))
    for probe, kind in zip(("startupProbe", "readinessProbe", "livenessProbe"), probes, strict=True):
        assert kind in container[probe]
        assert container[probe].get("httpGet", {"scheme": "HTTPS"})["scheme"] == "HTTPS"


async def test_what_prometheus_asks_is_answered(tmp_path: Path) -> None:
    manifests = render(tmp_path, VARIATIONS["hpa"])
    [endpoint] = only(manifests, "ServiceMonitor")["spec"]["endpoints"]
    async with http_client(make_frontend(EchoEngine())) as client:
        assert "depth_" in (await client.get(endpoint["path"])).text
    assert endpoint["port"] in {port["name"] for port in only(manifests, "Service", "depth")["spec"]["ports"]}


def test_pods_are_counted_by_a_metric_that_the_service_exports(tmp_path: Path) -> None:
    [metric] = only(render(tmp_path, VARIATIONS["hpa"]), "HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in exported()
    adapter = yaml.safe_load((ROOT / "docker" / "helm" / "prometheus-adapter.yaml").read_text())
    [rule] = adapter["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
    [trigger] = only(render(tmp_path, VARIATIONS["everything"]), "ScaledObject")["spec"]["triggers"]
    assert set(re.findall(r"depth_\w+", trigger["metadata"]["query"])) == {name}


@pytest.mark.parametrize("drain_timeout_s", [None, 7.5, 60])
def test_a_pod_has_time_for_the_service_s_own_end(tmp_path: Path, drain_timeout_s: float | None) -> None:
    values = {} if drain_timeout_s is None else {"settings": {"drain_timeout_s": drain_timeout_s}}
    manifests = render(tmp_path, values)
    pod = pod_of(manifests)["spec"]
    settings = {name: field.default for name, field in Settings.model_fields.items()} | values.get(
        "settings", {}
    )
    [container] = pod["containers"]
    pre_stop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Streams and calls are waited for first, requests that are left after that.
    own_s = settings["linger_s"] + 2 * settings["drain_timeout_s"]
    assert pod["terminationGracePeriodSeconds"] >= pre_stop_s + math.ceil(own_s)
    # Nobody sends to a pod that has failed its probe before it stops taking connections.
    assert pre_stop_s >= 5


def test_chosen_defaults_are_the_service_s_own() -> None:
    chosen = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    assert chosen == {name: Settings.model_fields[name].default for name in chosen}


# What manifests say to each other


def test_every_selector_finds_the_pods(manifests: list[Manifest]) -> None:
    labels = pod_of(manifests)["metadata"]["labels"].items()
    deployment = only(manifests, "Deployment")["spec"]
    services = [manifest for manifest in manifests if manifest["kind"] == "Service"]
    selectors = [
        deployment["selector"]["matchLabels"],
        *(service["spec"]["selector"] for service in services),
        only(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in deployment["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert len(services) == 2


def test_prometheus_asks_each_pod_once(tmp_path: Path) -> None:
    manifests = render(tmp_path, VARIATIONS["hpa"])
    selector = only(manifests, "ServiceMonitor")["spec"]["selector"]
    [absent] = selector["matchExpressions"]
    assert absent["operator"] == "DoesNotExist"
    services = [manifest["metadata"] for manifest in manifests if manifest["kind"] == "Service"]
    found = [
        service["name"]
        for service in services
        if selector["matchLabels"].items() <= service["labels"].items()
        and absent["key"] not in service["labels"]
    ]
    assert found == ["depth"]


def test_an_autoscaler_scales_the_deployment_which_then_has_no_number_of_its_own(tmp_path: Path) -> None:
    for variation, kind in (("hpa", "HorizontalPodAutoscaler"), ("everything", "ScaledObject")):
        manifests = render(tmp_path, VARIATIONS[variation])
        deployment = only(manifests, "Deployment")
        assert only(manifests, kind)["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"]


def test_a_pod_may_do_as_little_as_possible(manifests: list[Manifest]) -> None:
    pod, container = pod_of(manifests)["spec"], container_of(manifests)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    policy = only(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_nobody_may_call_until_the_values_say_who(tmp_path: Path) -> None:
    policy = only(render(tmp_path, {}), "NetworkPolicy")["spec"]
    assert (policy["ingress"], policy["egress"]) == ([], [])
    clients = EVERYTHING["networkPolicy"]["clients"]
    [rule] = only(render(tmp_path, EVERYTHING), "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == clients
    assert {port["port"] for port in rule["ports"]} == {"http", "grpc"}


def test_prometheus_is_to_know_the_certificate_and_is_never_told_to_believe_any(tmp_path: Path) -> None:
    [endpoint] = only(render(tmp_path, EVERYTHING), "ServiceMonitor")["spec"]["endpoints"]
    assert "insecureSkipVerify" not in endpoint["tlsConfig"]
    values = {"secrets": {"tls": "tls"}, "metrics": {"serviceMonitor": {"enabled": True}}}
    (path := tmp_path / "tls.yaml").write_text(yaml.safe_dump(values))
    told = run_helm("template", "depth", str(CHART), "--values", str(path))
    assert told.returncode != 0
    assert "tlsConfig is empty" in told.stderr


def test_an_update_takes_no_pod_away_before_its_successor_is_ready(plain: list[Manifest]) -> None:
    update = only(plain, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert (update["maxUnavailable"], update["maxSurge"]) == (0, 1)


def test_pods_start_anew_when_settings_change(tmp_path: Path) -> None:
    sums = {
        pod_of(render(tmp_path, {"settings": settings}))["metadata"]["annotations"]["checksum/settings"]
        for settings in ({}, {"max_batch": 4}, {"max_batch": 8})
    }
    assert len(sums) == 3


# Training


def test_the_training_job_fits_the_schemas_and_itself() -> None:
    manifests = read((ROOT / "docker" / "kubernetes" / "training-job.yaml").read_text())
    for manifest in manifests:
        for version in (OLDEST, NEWEST):
            validate(manifest, version)
    job, service = only(manifests, "Job"), only(manifests, "Service")
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    arguments = dict(re.findall(r"--([a-z-]+)=(\S+)", " ".join(container["args"])))
    assert job["spec"]["completionMode"] == "Indexed"
    assert int(arguments["nnodes"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert int(arguments["nproc-per-node"]) == container["resources"]["limits"]["nvidia.com/gpu"]
    # The first pod's name, as the headless service has it.
    name = job["metadata"]["name"]
    assert arguments["rdzv-endpoint"].startswith(f"{name}-0.{service['metadata']['name']}:")
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert {"/runs", "/data", "/dev/shm", "/tmp"} <= set(mounted)
