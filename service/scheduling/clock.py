"""The monotonic clock, passed in wherever a deadline is told, so that tests can hold it still."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not call."""


class Clock(Protocol):
    """Tells monotonic seconds and calls back."""

    def now(self) -> float:
        """Return the seconds since some fixed instant."""

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Call back in the event loop, not before an instant."""


class MonotonicClock:
    """``time.monotonic``, and the running event loop's timers."""

    def now(self) -> float:
        """Return the seconds since some fixed instant."""
        return time.monotonic()

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Call back in the event loop, not before an instant."""
        # The loop's own clock may count from elsewhere.
        return asyncio.get_running_loop().call_later(max(0.0, when_s - self.now()), callback)


@asynccontextmanager
async def until(clock: Clock, when_s: float) -> AsyncIterator[None]:
    """Cancel the body of the ``async with`` at an instant of a clock.

    Raises:
        TimeoutError: The instant came before the end of the body.
    """
    async with asyncio.timeout(None) as scope:
        timer = clock.call_at(when_s, lambda: scope.reschedule(asyncio.get_running_loop().time()))
        try:
            yield
        finally:
            timer.cancel()
