"""Calls as they are counted: one for each request, however many images it brings."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from service.telemetry.metrics import Metrics, Outcome
from service.telemetry.tracing import current_trace


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What became of one image of a call."""

    transport: str
    model: str
    """As labels name it."""
    outcome: Outcome
    seconds: float
    timings: Mapping[str, float]
    """Seconds by phase; empty where it was not answered."""
    tell: "Callable[[Part], None] | None" = None
    """Counts the call for its model; None where no model was found."""


_call: ContextVar[list[Part] | None] = ContextVar("_call", default=None)


@contextmanager
def one_call(metrics: Metrics) -> Iterator[None]:
    """Count everything that is asked for within as one call: it takes as long as its slowest image.

    Its outcome is `ok` where every image's is, else that of the first that failed of itself.
    """
    parts: list[Part] = []
    token = _call.set(parts)
    try:
        yield
    finally:
        _call.reset(token)
        if parts:
            failed = sorted(
                (part for part in parts if part.outcome != "ok"), key=lambda part: part.outcome == "cancelled"
            )
            slowest = max(parts, key=lambda part: part.seconds)
            _observe(metrics, failed[0] if failed else slowest, slowest.seconds)


def count_image(metrics: Metrics, part: Part) -> None:
    """Count an image's phases; and its call, unless that is counted as a whole."""
    for phase, seconds in part.timings.items():
        labels = (phase, part.transport, part.model, part.outcome)
        metrics.phase_seconds.labels(*labels).observe(seconds)
    parts = _call.get()
    if parts is None:
        _observe(metrics, part, part.seconds)
    else:
        parts.append(part)


def _observe(metrics: Metrics, part: Part, seconds: float) -> None:
    trace = current_trace.get()
    exemplar = None if trace is None else {"trace_id": trace.trace_id}
    labels = (part.transport, part.model, part.outcome)
    metrics.request_seconds.labels(*labels).observe(seconds, exemplar)
    if part.tell is not None:
        part.tell(part)
