"""How many bytes of requests may be held in memory at once.

It does not know whose bytes they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_RETRY_AFTER_S = 1.0
"""An upload lasts about that long; when exactly one ends is in its sender's hands."""


class ByteBudget:
    """Bytes that are shared out among requests.

    Args:
        max_bytes: How many there are.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Open a request's share; all of it is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.held_bytes

    def take(self, amount: int) -> None:
        """Take bytes out.

        Raises:
            Overloaded: There are not that many left.
        """
        if self.held_bytes + amount > self._max_bytes:
            raise Overloaded("too much is being uploaded at once", retry_after_s=_RETRY_AFTER_S)
        self.held_bytes += amount


class Share:
    """What one request has taken."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    def take(self, amount: int) -> None:
        """Take more."""
        self._budget.take(amount)
        self.held_bytes += amount
