"""What would be sent to a cluster: the chart's manifests, and the schemas that the cluster holds them to."""

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "docker" / "helm" / "depth"
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
Manifest = dict[str, Any]

_STRICT = {"type": "object", "additionalProperties": False}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_SELECTOR = {
    **_STRICT,
    "properties": {
        "matchLabels": _LABELS,
        "matchExpressions": {"type": "array", "items": {"type": "object"}},
    },
}
_TARGET = {
    **_STRICT,
    "required": ["name"],
    "properties": {
        "apiVersion": {"const": "apps/v1"},
        "kind": {"type": "string"},
        "name": {"type": "string"},
    },
}
CUSTOM: dict[str, Any] = {
    # The parts of both definitions that the chart uses, written down from their references.
    "monitoring.coreos.com/v1 ServiceMonitor": {
        **_STRICT,
        "required": ["selector", "endpoints"],
        "properties": {
            "selector": _SELECTOR,
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    **_STRICT,
                    "properties": {
                        "port": {"type": "string"},
                        "path": {"type": "string"},
                        "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
                        "scheme": {"enum": ["http", "https", "HTTP", "HTTPS"]},
                        "tlsConfig": {
                            **_STRICT,
                            "properties": {
                                "insecureSkipVerify": {"type": "boolean"},
                                "serverName": {"type": "string"},
                                "ca": {"type": "object"},
                                "cert": {"type": "object"},
                                "keySecret": {"type": "object"},
                            },
                        },
                    },
                },
            },
        },
    },
    "keda.sh/v1alpha1 ScaledObject": {
        **_STRICT,
        "required": ["scaleTargetRef", "triggers"],
        "properties": {
            "scaleTargetRef": _TARGET,
            "minReplicaCount": {"type": "integer"},
            "maxReplicaCount": {"type": "integer"},
            "pollingInterval": {"type": "integer"},
            "advanced": {
                **_STRICT,
                "properties": {
                    "horizontalPodAutoscalerConfig": {
                        **_STRICT,
                        "properties": {"behavior": {"type": "object"}},
                    }
                },
            },
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": {
                    **_STRICT,
                    "required": ["type", "metadata"],
                    "properties": {
                        "type": {"type": "string"},
                        "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                        "metadata": _LABELS,  # every value is text
                    },
                },
            },
        },
    },
}


def helm() -> str:
    """The path of the binary, or skip."""
    beside = Path(sys.executable).with_name("helm")
    found = shutil.which("helm") or (str(beside) if beside.exists() else None)
    if found is None:
        pytest.skip(
            "helm is not installed; `python docker/helm/fetch.py PATH` fetches it for Linux on x86-64"
        )
    return found


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((helm(), *arguments), capture_output=True, text=True, check=False, timeout=60)


def render(tmp_path: Path, values: dict[str, Any]) -> list[Manifest]:
    """What the chart comes to with some values, as the release `depth` in the namespace `vision`."""
    (path := tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    told = run_helm("template", "depth", str(CHART), "--namespace", "vision", "--values", str(path))
    assert told.returncode == 0, told.stderr
    return read(told.stdout)


def read(text: str) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def only(manifests: Iterable[Manifest], kind: str, name: str | None = None) -> Manifest:
    [found] = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and name in (None, manifest["metadata"]["name"])
    ]
    return found


def validate(manifest: Manifest, version: str) -> None:
    """Hold a manifest to the schema that a cluster of some version has for it, unknown fields included."""
    custom = CUSTOM.get(f"{manifest['apiVersion']} {manifest['kind']}")
    if custom is None:
        kubernetes_validate.validate(copy.deepcopy(manifest), version, strict=True)
    else:
        jsonschema.validate(manifest["spec"], custom)
        # Its metadata is as everybody's.
        plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest["metadata"]}
        kubernetes_validate.validate(plain, version, strict=True)
