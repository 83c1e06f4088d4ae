"""What the service measures of itself, by Prometheus's conventions, in a registry that is handed in.

Labels are bounded: unknown models share one word.
"""

from importlib.metadata import version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

Outcome = Literal["ok", "invalid", "overloaded", "not_ready", "expired", "cancelled", "failed"]
Phase = Literal["decode", "queue", "predict", "encode", "total"]

UNKNOWN = "unknown"
"""What a model is called in labels when no such model is served."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STALLS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)


class Metrics:
    """Every instrument of the service.

    Args:
        registry: Where they are registered; a fresh one for each test.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._define_house(registry)
        self._define_models(registry)
        self._define_batches(registry)
        self.request_seconds = Histogram(
            "depth_request_seconds",
            "Time from a request's acceptance by the engine to its answer, that of its slowest image.",
            ("transport", "model", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.phase_seconds = Histogram(
            "depth_phase_seconds",
            "Time that each image spent in each phase, waiting for its threads included.",
            ("phase", "transport", "model", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "depth_in_flight", "Requests accepted and not yet answered.", ("transport",), registry=registry
        )
        self.requests_cancelled = Counter(
            "depth_requests_cancelled", "Requests whose caller went away.", ("transport",), registry=registry
        )
        self.requests_rejected = Counter(
            "depth_requests_rejected",
            "Requests refused at once, by reason.",
            ("transport", "reason"),
            registry=registry,
        )
        self.requests_expired = Counter(
            "depth_requests_expired",
            "Requests accepted but not answered in time.",
            ("transport",),
            registry=registry,
        )

    def _define_house(self, registry: CollectorRegistry) -> None:
        self.build = Info("depth_build", "Which version of the service this is.", registry=registry)
        self.build.info({"version": version("vfm-depth")})
        self.ready = Gauge("depth_ready", "1 while requests should be sent here, else 0.", registry=registry)
        self.event_loop_stall_seconds = Histogram(
            "depth_event_loop_stall_seconds",
            "How late the event loop ran a timer that is due every 10 ms.",
            buckets=_STALLS_S,
            registry=registry,
        )
        self.open_streams = Gauge("depth_open_streams", "Streams that are open.", registry=registry)
        self.open_streams_limit = Gauge(
            "depth_open_streams_limit", "Streams that may be open.", registry=registry
        )
        self.held_body_bytes = Gauge(
            "depth_held_body_bytes", "Bytes of requests that are held in memory.", registry=registry
        )
        self.held_body_limit_bytes = Gauge(
            "depth_held_body_limit_bytes", "Bytes of requests that may be held in memory.", registry=registry
        )
        self.held_pixel_bytes = Gauge(
            "depth_held_pixel_bytes",
            "Bytes of decoded images and of depth that is being written.",
            registry=registry,
        )
        self.held_pixel_limit_bytes = Gauge(
            "depth_held_pixel_limit_bytes",
            "Bytes of decoded images that may be held before more are refused.",
            registry=registry,
        )
        self.held_answer_bytes = Gauge(
            "depth_held_answer_bytes", "Bytes of answers that are held in memory.", registry=registry
        )
        self.held_answer_limit_bytes = Gauge(
            "depth_held_answer_limit_bytes", "Bytes of answers that may be held in memory.", registry=registry
        )

    def _define_batches(self, registry: CollectorRegistry) -> None:
        self.batch_size = Histogram(
            "depth_batch_size", "Images in each batch.", ("model",), buckets=_BATCHES, registry=registry
        )
        self.batch_seconds = Histogram(
            "depth_batch_seconds",
            "Time that each batch took.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_length = Gauge(
            "depth_queue_length",
            "Images decoded or being decoded that wait for a device.",
            ("model",),
            registry=registry,
        )

        self.queue_limit = Gauge(
            "depth_queue_limit",
            "Images that may wait for a device before more are refused.",
            ("model",),
            registry=registry,
        )
        self.batch_limit = Gauge(
            "depth_batch_limit", "Images that one batch may hold.", ("model",), registry=registry
        )

    def _define_models(self, registry: CollectorRegistry) -> None:
        self.model_state = Gauge(
            "depth_model_state",
            "1 for the state that each version of a model is in.",
            ("model", "version", "state"),
            registry=registry,
        )
        self.model_loads = Counter(
            "depth_model_loads",
            "Attempts to load a model, by result.",
            ("model", "result"),
            registry=registry,
        )
        self.model_load_failing = Gauge(
            "depth_model_load_failing",
            "1 while the newest checkpoint of a model cannot be loaded, else 0.",
            ("model",),
            registry=registry,
        )
        self.backend_restarts = Counter(
            "depth_backend_restarts",
            "Backends rebuilt after they hung or failed.",
            ("model", "reason"),
            registry=registry,
        )
        self.device_memory_bytes = Gauge(
            "depth_device_memory_bytes",
            "Memory that a device's allocator holds.",
            ("device",),
            registry=registry,
        )
