"""The dashboard and the alerts ask for what the service really shows, and say what to do."""

import asyncio
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.contract.answer import ModelState
from service.contract.errors import ServiceError
from service.telemetry.metrics import Outcome, Phase
from tests.service.traffic import figures_after_traffic

ROOT = Path(__file__).parents[2]
GRAFANA, PROMETHEUS = ROOT / "docker" / "grafana", ROOT / "docker" / "prometheus"
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "instance", "model", "job"}}
"""What Prometheus itself adds."""
ONLY_ON_GPUS = {"depth_device_memory_bytes": {"device"}}
WORDS = {
    "by",
    "on",
    "and",
    "or",
    "unless",
    "without",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of every series that a service shows after some traffic."""
    text = asyncio.run(figures_after_traffic(tmp_path_factory.mktemp("models")))
    labels: dict[str, set[str]] = {name: set(found) for name, found in OF_PROMETHEUS.items()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    for name, found in ONLY_ON_GPUS.items():
        assert f"# TYPE {name} gauge" in text
        labels[name] = {"job", "instance", *found}
    return labels


def dashboard() -> dict[str, Any]:
    return json.loads((GRAFANA / "dashboards" / "depth.json").read_text())


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Every query of the dashboard and of the alerts, by where it stands."""
    found = {f"alert {name}": rule["expr"] for name, rule in alerts().items()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']}, {target['refId']}"] = target["expr"]
    return found | {each["name"]: each["expr"] for each in dashboard()["annotations"]["list"]}


def series_of(query: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The series that a query names, each with its matchers: label, operator and text."""
    bare = re.sub(r"\[[^]]*]|\b(?:by|on|group_left|without)\s*\([^)]*\)", "", query)
    found = re.findall(r"([a-zA-Z_]\w*)\s*(\{[^}]*\})?(?!\w|\s*\()", bare)
    named = [(name, matchers) for name, matchers in found if name not in WORDS and not _inside(name, bare)]
    return [(name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)) for name, matchers in named]


def _inside(name: str, query: str) -> bool:
    """Whether a word stands only between braces or quotes, where it is no series."""
    return not re.search(rf"\b{name}\b", re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", query))


def grouped(query: str) -> set[str]:
    lists = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", query)
    return {label.strip() for labels in lists for label in labels.split(",")}


def test_the_reader_of_queries_sees_series_matchers_and_groups() -> None:
    query = 'sum by (le, job) (rate(a_bucket{x="1",y=~"b|c"}[5m])) / on (job) d > 3 and vector(0)'
    assert series_of(query) == [("a_bucket", [("x", "=", "1"), ("y", "=~", "b|c")]), ("d", [])]
    assert grouped(query) == {"le", "job"}


def test_every_query_names_series_and_labels_that_the_service_shows(shown: dict[str, set[str]]) -> None:
    assert len(queries()) > 50
    for where, query in queries().items():
        named = series_of(query)
        assert named, where
        for name, matchers in named:
            assert name in shown, f"{where} asks for {name}"
            assert {label for label, _, _ in matchers} <= shown[name], f"{where} asks {name} for {matchers}"
        possible = set.union(*(shown[name] for name, _ in named))
        assert grouped(query) <= possible, f"{where} groups by {grouped(query)}"


def test_every_value_that_a_query_asks_for_exists() -> None:
    codes = {error.code for error in _tree(ServiceError)}
    known = {
        "outcome": set(get_args(Outcome)),
        "phase": set(get_args(Phase)),
        "state": set(get_args(ModelState)),
        "result": {"loaded", "failed"},
        "reason": codes | {"hung", "failed"},
    }
    asked = [
        (where, label, text)
        for where, query in queries().items()
        for _, matchers in series_of(query)
        for label, _, text in matchers
        if label in known
    ]
    assert len(asked) > 10
    for where, label, text in asked:
        assert set(text.split("|")) <= known[label], f"{where}: {label} {text}"


def _tree(error: type[ServiceError]) -> set[type[ServiceError]]:
    return {error}.union(*map(_tree, error.__subclasses__()))


def test_every_metric_of_ours_is_drawn(shown: dict[str, set[str]]) -> None:
    drawn = {name for query in queries().values() for name, _ in series_of(query)}
    families = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in shown}
    undrawn = {
        family
        for family in families
        if family.startswith("depth_") and not any(name.startswith(family) for name in drawn)
    }
    assert not undrawn


def test_the_committed_dashboard_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_dashboard", GRAFANA / "make_dashboard.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.OUTPUT.read_text() == script.text(), "run: python docker/grafana/make_dashboard.py"


def test_every_panel_says_what_it_shows_and_lies_on_no_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
        place = panel["gridPos"]
        cells = {
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_finds_the_data_source_and_the_dashboards_where_its_provisioning_says() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/depth.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


@pytest.mark.parametrize("name", alerts())
def test_each_alert_says_what_is_wrong_how_grave_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert name.startswith("Depth")
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    document, anchor = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ `?(\w+)`?$", (ROOT / document).read_text(), flags=re.MULTILINE)
    assert anchor == name.lower()
    assert anchor in {heading.lower() for heading in headings}


@pytest.mark.parametrize(
    "command",
    ["check rules alerts.yml", "check config prometheus.yml", "test rules tests.yml"],
)
def test_promtool_agrees(command: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian's package prometheus has it)")
    done = subprocess.run(
        [promtool, *command.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested() -> None:
    tests = (PROMETHEUS / "tests.yml").read_text()
    assert not [name for name in alerts() if name not in tests]
