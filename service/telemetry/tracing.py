"""W3C trace context, taken from the caller and passed on; spans through OpenTelemetry where asked for."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_CHARACTERS = 512
"""What the standard asks everyone to pass on at least; longer lists are dropped whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceContext:
    """A place in a distributed trace."""

    trace_id: str
    """32 hex digits, the same through the whole trace."""
    span_id: str
    """16 hex digits, this service's own part of it."""
    flags: str
    """Two hex digits; the last bit says that the trace is recorded."""
    state: str = ""
    """What other tracing systems passed on, untouched."""

    @property
    def traceparent(self) -> str:
        """The header that passes this place on."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
"""The trace of the request that is being answered."""


def parse_traceparent(value: str, state: str = "") -> TraceContext | None:
    """Read a caller's ``traceparent``; None where it breaks the standard, which then asks for a new trace."""
    match = _TRACEPARENT.fullmatch(value.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(
        trace_id=trace_id,
        span_id=span_id,
        flags=flags,
        state=state if len(state) <= _STATE_CHARACTERS else "",
    )


def continue_trace(traceparent: str | None, state: str = "") -> TraceContext:
    """Return a new span under the caller's, or the first of a new trace that nobody records."""
    parent = parse_traceparent(traceparent, state) if traceparent else None
    if parent is None:
        return TraceContext(trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8), flags="00")
    return TraceContext(
        trace_id=parent.trace_id, span_id=secrets.token_hex(8), flags=parent.flags, state=parent.state
    )


class Tracing:
    """Opens one span a request.

    Args:
        tracer: OpenTelemetry's, which records the spans; None passes the context on and records nothing.
        close: Ends the tracer's provider.
    """

    def __init__(self, tracer: "Tracer | None" = None, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = tracer
        self.close = close
        """Exports what was recorded and not exported yet."""

    @contextmanager
    def span(self, name: str, traceparent: str | None, state: str = "") -> Iterator[TraceContext]:
        """Make the request's place in its trace the current one."""
        if self._tracer is None:
            context = continue_trace(traceparent, state)
            token = current_trace.set(context)
            try:
                yield context
            finally:
                current_trace.reset(token)
            return
        with _recorded(self._tracer, name, traceparent, state) as context:
            token = current_trace.set(context)
            try:
                yield context
            finally:
                current_trace.reset(token)


@contextmanager
def _recorded(tracer: "Tracer", name: str, traceparent: str | None, state: str) -> Iterator[TraceContext]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent or "", "tracestate": state}
    parent = TraceContextTextMapPropagator().extract(carrier)
    with tracer.start_as_current_span(name, context=parent, kind=SpanKind.SERVER) as span:
        own = span.get_span_context()
        yield TraceContext(
            trace_id=f"{own.trace_id:032x}",
            span_id=f"{own.span_id:016x}",
            flags=f"{int(own.trace_flags):02x}",
            state=own.trace_state.to_header(),
        )


def open_telemetry(service_name: str) -> Tracing:
    """Record spans and export them by OTLP, to where the standard ``OTEL_EXPORTER_OTLP_*`` variables say.

    Raises:
        RuntimeError: The packages of the ``tracing`` extra are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RuntimeError(
            "tracing is switched on but OpenTelemetry is missing: pip install '.[tracing]' in the source tree"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider.get_tracer("service"), provider.shutdown)
