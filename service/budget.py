"""How many bytes of requests, or of answers, may be held in memory at once.

It does not know whose bytes they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_RETRY_AFTER_S = 1.0
"""An upload or a download lasts about that long; when exactly one ends is in the other side's hands."""


class ByteBudget:
    """Bytes that are shared out among requests.

    Args:
        max_bytes: How many there are.
        what: Those bytes are, in the words of a refusal.
        on_refusal: Told, whenever there are not enough left, of the door that wanted them.
    """

    def __init__(
        self, max_bytes: int, what: str, on_refusal: Callable[[str], None] = lambda door: None
    ) -> None:
        self._max_bytes = max_bytes
        self._what = what
        self._on_refusal = on_refusal
        self.held_bytes = 0

    @contextmanager
    def share(self, door: str) -> Iterator["Share"]:
        """Open the share of a request that came through a door; all of it is given back at the end."""
        share = Share(self, door)
        try:
            yield share
        finally:
            self.held_bytes -= share.held_bytes

    def take(self, amount: int, door: str) -> None:
        """Take bytes out, for a request that came through a door.

        Raises:
            Overloaded: There are not that many left.
        """
        if self.held_bytes + amount > self._max_bytes:
            self._on_refusal(door)
            raise Overloaded(f"too much {self._what} at once", retry_after_s=_RETRY_AFTER_S)
        self.held_bytes += amount


class Share:
    """What one request has taken."""

    def __init__(self, budget: ByteBudget, door: str) -> None:
        self._budget, self._door = budget, door
        self.held_bytes = 0

    def take(self, amount: int) -> None:
        """Take more."""
        self._budget.take(amount, self._door)
        self.held_bytes += amount
