"""The monotonic clock, handed in wherever time is told, so that tests can hold it still.

It does not know what happens when.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Let it not happen."""


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
