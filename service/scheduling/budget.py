"""Accounts of bytes: how many of a kind may be held in memory at once, and by one holder.

A holder is whoever can be told apart: an API key, or a connection where there are no keys. After it has
taken something, a holder may not have more than what is still free. So one alone gets half of an account,
two get a third each, and a new request always finds room (Choudhury and Hahne, "Dynamic Queue Length
Thresholds for Shared-Memory Packet Switches", 1998, with alpha = 1).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.contract.errors import Overloaded

_RETRY_AFTER_S = 1.0
"""An upload or a download lasts about that long; when exactly one ends is in the other side's hands."""


class ByteBudget:
    """One account. It may be used from any thread.

    Args:
        max_bytes: How many there are.
        what: Those bytes are, in the words of a refusal.
        setting: Which setting says how many there are.
        whole_first: Whether a holder that has nothing may take as much as is free, rather than half of it.
        on_refusal: Called with the transport of each request that is refused.
    """

    def __init__(
        self,
        max_bytes: int,
        what: str,
        *,
        setting: str,
        whole_first: bool = False,
        on_refusal: Callable[[str], None] = lambda transport: None,
    ) -> None:
        self._max_bytes, self._what, self._setting = max_bytes, what, setting
        self._whole_first, self._on_refusal = whole_first, on_refusal
        self._lock = threading.Lock()
        self._held_by: Counter[str] = Counter()
        self.held_bytes = 0

    @contextmanager
    def share(self, transport: str, holder: str) -> Iterator["Share"]:
        """Open the share of one request or connection; all of it is given back at the end.

        Args:
            transport: Through which it came.
            holder: Whose it is.
        """
        share = Share(self, transport, holder)
        try:
            yield share
        finally:
            share.close()

    def take(self, amount: int, transport: str, holder: str) -> None:
        """Take bytes for a holder.

        Raises:
            Overloaded: There are not that many left, or this holder has as many as it may.
        """
        with self._lock:
            left = self._max_bytes - self.held_bytes - amount
            held = self._held_by[holder]
            if fits := left >= (0 if self._whole_first and not held else held + amount):
                self._change(amount, holder)
        if not fits:
            self._on_refusal(transport)
            whose = "all callers" if left < 0 else "one caller"
            raise Overloaded(
                f"too much {self._what} at once for {whose}; {self._setting} is {self._max_bytes}",
                retry_after_s=_RETRY_AFTER_S,
            )

    def give(self, amount: int, holder: str) -> None:
        """Give bytes back."""
        with self._lock:
            self._change(-amount, holder)

    def overdraw(self, amount: int, holder: str) -> None:
        """Take bytes whether there are any left or not: for work that is bounded otherwise."""
        with self._lock:
            self._change(amount, holder)

    def _change(self, amount: int, holder: str) -> None:
        self.held_bytes += amount
        self._held_by[holder] += amount
        if not self._held_by[holder]:
            del self._held_by[holder]


class Share:
    """What one request or connection has taken.

    Once it is closed nothing changes it: work that a lost connection leaves behind counts for nobody.
    """

    def __init__(self, budget: ByteBudget, transport: str, holder: str) -> None:
        self._budget, self._transport, self._holder = budget, transport, holder
        self._lock = threading.RLock()
        self._closed = False
        self.held_bytes = 0

    def take(self, amount: int) -> None:
        """Take more.

        Raises:
            Overloaded: There are not that many left, or this holder has as many as it may.
        """
        with self._lock:
            if not self._closed:
                self._budget.take(amount, self._transport, self._holder)
                self.held_bytes += amount

    def overdraw(self, amount: int) -> None:
        """Take more, whether there are any left or not."""
        with self._lock:
            if not self._closed:
                self._budget.overdraw(amount, self._holder)
                self.held_bytes += amount

    def give(self, amount: int) -> None:
        """Give some back."""
        with self._lock:
            if not self._closed:
                self._budget.give(amount, self._holder)
                self.held_bytes -= amount

    def resize(self, amount: int) -> None:
        """Have exactly so much.

        Raises:
            Overloaded: That is more than before, and more than there may be.
        """
        with self._lock:
            if amount > self.held_bytes:
                self.take(amount - self.held_bytes)
            else:
                self.give(self.held_bytes - amount)

    def close(self) -> None:
        """Give all of it back, for good."""
        with self._lock:
            self.give(self.held_bytes)
            self._closed = True
