"""How long the event loop stops: nobody is answered while one piece of work holds it.

A timer is due every 10 ms; how late it runs is how long the loop stood still, known to within those 10 ms.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Histogram

_EVERY_S = 0.01


@asynccontextmanager
async def watching_loop(stalls: Histogram) -> AsyncIterator[None]:
    """Observe each delay of the running event loop, in seconds, for as long as the ``async with`` lasts."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look(due_s: float) -> None:
        nonlocal timer
        now_s = loop.time()
        stalls.observe(max(0.0, now_s - due_s))
        timer = loop.call_at(now_s + _EVERY_S, look, now_s + _EVERY_S)

    timer = loop.call_later(_EVERY_S, look, loop.time() + _EVERY_S)
    try:
        yield
    finally:
        timer.cancel()
