"""When the same question is asked once more, and after how long.

Only what the service refused before working on it, or what got no answer, is asked again: depth is a pure
question, which changes nothing on the server.
"""

import random
from dataclasses import dataclass

from depth_client.errors import InvalidArgument, NotReady, Overloaded, ServiceError, Unreachable

_JITTER = 0.25
"""Of a delay, added at random, so that those who were refused together do not come back together."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how patiently to ask again, within the call's own deadline."""

    attempts: int = 4
    """The first one included; 1 never asks again."""
    first_delay_s: float = 0.1
    """Doubled from one attempt to the next, where the service does not say how long to wait."""
    longest_delay_s: float = 5.0
    """Of those; what the service says is never cut short."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.first_delay_s <= self.longest_delay_s:
            raise InvalidArgument(f"{self} makes no sense; expected an attempt or more, and growing delays")

    def delay_s(self, error: ServiceError, attempt: int, remaining_s: float) -> float | None:
        """Return how long to wait before asking again, or None where the error stands.

        Args:
            error: What became of the last attempt.
            attempt: Counted from 1.
            remaining_s: Until the caller's deadline: a wait that leaves no time for an answer is none.
        """
        if attempt >= self.attempts:
            return None
        if isinstance(error, Overloaded):
            if error.retry_after_s is None:
                return None
            delay_s = error.retry_after_s
        elif isinstance(error, NotReady | Unreachable):
            backoff_s = min(self.first_delay_s * 2 ** (attempt - 1), self.longest_delay_s)
            delay_s = max(error.retry_after_s or 0.0, backoff_s)
        else:
            return None
        delay_s *= 1 + _JITTER * random.random()  # noqa: S311 - spreads load, guards nothing
        return delay_s if delay_s < remaining_s else None
