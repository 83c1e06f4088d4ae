"""What the service measures of itself, as Prometheus sees it."""

import asyncio
import re
import shutil
import subprocess
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from service.contract.answer import ModelState
from service.telemetry.metrics import UNKNOWN, Outcome, Phase
from tests.service.traffic import QUEUE_ITEMS, UNKNOWN_NAMES, figures_after_traffic, samples, value

TRANSPORTS = {"http", "grpc", "websocket"}
ALLOWED = {
    "transport": TRANSPORTS,
    "model": {"student", UNKNOWN},
    "outcome": set(get_args(Outcome)),
    "phase": set(get_args(Phase)),
    "state": set(get_args(ModelState)),
    "result": {"loaded", "failed"},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return asyncio.run(figures_after_traffic(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def figures(text: str) -> list[Sample]:
    return samples(text)


def test_every_outcome_is_counted_once(figures: list[Sample]) -> None:
    counts = {
        outcome: value(figures, "depth_request_seconds_count", outcome=outcome)
        for outcome in get_args(Outcome)
    }
    assert counts == {
        "ok": 3 + QUEUE_ITEMS,
        "invalid": 1 + UNKNOWN_NAMES,
        "overloaded": 3,
        "not_ready": 0,
        "expired": 1,
        "cancelled": 1,
        "failed": 1,
    }
    assert value(figures, "depth_requests_rejected_total", reason="overloaded") == 3
    assert value(figures, "depth_requests_rejected_total", reason="unauthenticated") == 1
    assert value(figures, "depth_requests_expired_total") == 1
    assert value(figures, "depth_requests_cancelled_total") == 1


def test_each_transport_is_counted_by_its_name(figures: list[Sample]) -> None:
    answered = {
        transport: value(figures, "depth_request_seconds_count", transport=transport, outcome="ok")
        for transport in TRANSPORTS
    }
    assert answered == {"http": 1 + QUEUE_ITEMS, "grpc": 1, "websocket": 1}


def test_whoever_looks_from_outside_sees_that_images_share_batches(figures: list[Sample]) -> None:
    batches, images = (value(figures, f"depth_batch_size_{end}") for end in ("count", "sum"))
    singles = value(figures, "depth_batch_size_bucket", le="1.0")
    assert images / batches > 1
    assert batches - singles >= QUEUE_ITEMS // 4  # the crowd of 8 found a device that takes 4 at a time
    assert value(figures, "depth_batch_limit", model="student") == 4


def test_gauges_are_back_at_rest_when_nothing_is_asked(figures: list[Sample]) -> None:
    for name in ("depth_in_flight", "depth_queue_length", "depth_open_streams", "depth_held_body_bytes"):
        assert any(sample.name == name for sample in figures), name
        assert value(figures, name) == 0, name
    assert value(figures, "depth_ready") == 1
    assert value(figures, "depth_queue_limit") == QUEUE_ITEMS


def test_counters_that_alerts_watch_begin_at_nought(figures: list[Sample]) -> None:
    """Prometheus sees no increase in a counter that is born at 1."""
    for reason in ("hung", "failed"):
        found = [
            sample.value
            for sample in figures
            if sample.name == "depth_backend_restarts_total" and sample.labels["reason"] == reason
        ]
        assert found == [0.0]
    assert value(figures, "depth_model_loads_total", result="loaded") == 1
    assert [
        sample.value
        for sample in figures
        if sample.name == "depth_model_loads_total" and sample.labels["result"] == "failed"
    ] == [0.0]


def test_labels_are_bounded_whatever_callers_send(figures: list[Sample]) -> None:
    ours = [sample for sample in figures if sample.name.startswith("depth_")]
    for label, allowed in ALLOWED.items():
        seen = {sample.labels[label] for sample in ours if label in sample.labels}
        assert seen, label
        assert seen <= allowed, label
    reasons = {sample.labels["reason"] for sample in ours if "reason" in sample.labels}
    assert all(re.fullmatch(r"[a-z_]+", reason) for reason in reasons)
    assert not any("unknown-" in text for sample in ours for text in sample.labels.values())


def test_names_follow_prometheus_s_conventions(text: str) -> None:
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith("depth_")]
    assert len(families) >= 15
    for family in families:
        assert re.fullmatch(r"depth(_[a-z]+)+", family.name), family.name
        assert family.name.endswith("_created") or family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent)(_|$)", family.name), family.name
        totals = {sample.name.endswith("_total") for sample in family.samples}
        assert totals <= {family.type == "counter"}, family.name
        if family.type == "gauge":
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket")), family.name


def test_promtool_finds_nothing_to_complain_of(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian's package prometheus has it)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
