import json
import logging
import subprocess
import sys

from service.telemetry.logs import JsonFormatter, accept_request_id, current_request_id
from service.telemetry.tracing import Tracing


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("service.x", logging.WARNING, "x.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_a_line_is_one_json_object_with_its_message_filled_in() -> None:
    text = JsonFormatter().format(record("%s of %d\nlines", "one", 2))
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "one of 2\nlines"
    assert line["level"] == "warning"
    assert line["logger"] == "service.x"
    assert line["time"].endswith("+00:00")


def test_extra_values_become_fields() -> None:
    assert json.loads(JsonFormatter().format(record("x", http_port=8000)))["http_port"] == 8000


def test_a_line_names_the_request_and_trace_that_it_belongs_to() -> None:
    token = current_request_id.set("r-1")
    try:
        with Tracing().span("work", None) as trace:
            line = json.loads(JsonFormatter().format(record("x")))
    finally:
        current_request_id.reset(token)
    assert line["request_id"] == "r-1"
    assert line["trace_id"] == trace.trace_id


def test_a_line_outside_of_requests_names_none() -> None:
    assert "request_id" not in json.loads(JsonFormatter().format(record("x")))


def test_a_traceback_stays_inside_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    text = JsonFormatter().format(failed)
    assert "\n" not in text
    assert "ValueError: broken" in json.loads(text)["traceback"]


def test_a_plain_request_id_of_the_callers_is_kept() -> None:
    assert accept_request_id("order-7:retry.2") == "order-7:retry.2"


def test_an_odd_request_id_is_replaced() -> None:
    for odd in (None, "", "a b", 'x"}\n{"level":"forged', "é", "x" * 129):
        made = accept_request_id(odd)
        assert made != odd
        assert len(made) == 32


def test_a_library_s_warning_is_a_line_of_json() -> None:
    code = """
import warnings
from service.telemetry.logs import configure_logging
configure_logging("info")
warnings.warn("odd EXIF")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = json.loads(ran.stderr)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "odd EXIF" in line["message"]
