import pytest

from service.telemetry.tracing import TraceContext, Tracing, continue_trace, current_trace, parse_traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_traceparent_is_read_and_written_back_unchanged() -> None:
    context = parse_traceparent(PARENT)
    assert context is not None
    assert context.traceparent == PARENT


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "hello",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-more",  # version 00 ends after its flags
        PARENT.replace("00-", "ff-", 1),  # the version that never will be
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
def test_a_traceparent_that_breaks_the_standard_is_no_parent(broken: str) -> None:
    assert parse_traceparent(broken) is None


def test_a_later_version_may_say_more() -> None:
    context = parse_traceparent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")
    assert context is not None
    assert context.trace_id == "0af7651916cd43dd8448eb211c80319c"


def test_a_span_continues_its_callers_trace_under_a_name_of_its_own() -> None:
    context = continue_trace(PARENT, "vendor=1")
    assert context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert context.span_id != "b7ad6b7169203331"
    assert context.flags == "01"
    assert context.state == "vendor=1"


def test_a_request_without_a_trace_starts_one_that_is_not_recorded() -> None:
    context = continue_trace(None)
    assert parse_traceparent(context.traceparent) == context
    assert context.flags == "00"


def test_an_overlong_trace_state_is_dropped_whole() -> None:
    assert continue_trace(PARENT, "a=" + "b" * 600).state == ""


def test_a_span_is_current_only_inside_its_with() -> None:
    with Tracing().span("work", PARENT) as context:
        assert current_trace.get() is context
    assert current_trace.get() is None


def test_open_telemetry_records_a_span_under_the_callers() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter"
    ).InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(
        pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor(memory)
    )
    with Tracing(provider.get_tracer("test")).span("POST /v1/depth", PARENT) as context:
        assert isinstance(context, TraceContext)
    (span,) = memory.get_finished_spans()
    assert span.name == "POST /v1/depth"
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{span.context.trace_id:032x}" == context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.context.span_id:016x}" == context.span_id
