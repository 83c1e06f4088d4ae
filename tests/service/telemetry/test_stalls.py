import asyncio
import time

from prometheus_client import CollectorRegistry

from service.telemetry.metrics import Metrics
from service.telemetry.stalls import watching_loop


async def test_a_stop_of_the_event_loop_is_measured() -> None:
    metrics = Metrics(CollectorRegistry())
    async with watching_loop(metrics.event_loop_stall_seconds):
        await asyncio.sleep(0.03)
        time.sleep(0.3)  # noqa: ASYNC251 - this is what must show
        await asyncio.sleep(0.03)

    def counted(le: str) -> float:
        value = metrics.registry.get_sample_value("depth_event_loop_stall_seconds_bucket", {"le": le})
        assert value is not None
        return value

    assert counted("30.0") - counted("0.25") == 1
