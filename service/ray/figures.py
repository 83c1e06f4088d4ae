"""What a replica measures, handed to Ray, whose agent on each node Prometheus asks.

Every sample becomes a gauge of its own name, so that the queries of the dashboard hold with ``ray_`` before
each name: Ray's own counters and histograms take increments, not totals.
"""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from ray.util.metrics import Gauge

INTERVAL_S = 5.0
"""As often as Ray's agent collects."""
_OURS = "depth_"
"""What begins otherwise (the process's memory, the collector's runs) Ray measures itself."""
_NO_FIGURES = ("_created",)


async def publish(registry: CollectorRegistry) -> None:
    """Hand every figure on, again and again, until cancelled."""
    gauges: dict[str, Gauge] = {}
    while True:
        publish_once(registry, gauges)
        await asyncio.sleep(INTERVAL_S)


def publish_once(registry: CollectorRegistry, gauges: dict[str, Gauge]) -> None:
    """Hand every figure on.

    Args:
        registry: Holds them.
        gauges: Those of Ray's that exist already; new ones are added.
    """
    for family in registry.collect():
        for sample in family.samples:
            if sample.name.startswith(_OURS) and not sample.name.endswith(_NO_FIGURES):
                gauge = gauges.get(sample.name)
                if gauge is None:
                    gauge = gauges[sample.name] = _gauge(sample.name, family.documentation, [*sample.labels])
                gauge.set(sample.value, tags=dict(sample.labels))


def _gauge(name: str, description: str, labels: Sequence[str]) -> Gauge:
    return Gauge(name, description=description, tag_keys=tuple(labels))
