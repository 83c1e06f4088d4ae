"""Stand-ins that a reader can compute in the head."""

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from service.scheduling.admission import Job, Ticket
from service.scheduling.cost import Cost
from service.scheduling.turns import Turns

_numbers = count()


@dataclass(order=True)
class ManualTimer:
    when_s: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Stands still until it is told to advance; begins at 0."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._timers: list[ManualTimer] = []
        self._number = 0

    def now(self) -> float:
        return self._now_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> ManualTimer:
        self._number += 1
        timer = ManualTimer(when_s, self._number, callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, with all that is due on the way, until nothing is left to do at the new instant."""
        until_s = self._now_s + seconds
        await settle()
        while self._timers and self._timers[0].when_s <= until_s:
            timer = heapq.heappop(self._timers)
            self._now_s = max(self._now_s, timer.when_s)
            if not timer.cancelled:
                timer.callback()
            await settle()
        self._now_s = until_s
        await settle()


async def settle() -> None:
    """Let every task run until all wait for something that only the test can do."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # nothing public tells
    await asyncio.sleep(0)
    while ready:  # noqa: ASYNC110 - no event says that nothing is left to do
        await asyncio.sleep(0)


class TenfoldDevice:
    """Answers each number with ten times itself, after ``seconds`` of a manual clock.

    It fails on a batch that holds a number in ``poison``, and keeps every batch that it was given.
    """

    def __init__(self, clock: ManualClock, seconds: float = 1.0, poison: Sequence[int] = ()) -> None:
        self._clock = clock
        self.seconds = seconds
        self.poison = set(poison)
        self.batches: list[list[int]] = []
        self.up = asyncio.Event()
        self.up.set()

    async def available(self) -> None:
        await self.up.wait()

    async def predict(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        done = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(
            self._clock.now() + self.seconds, lambda: done.done() or done.set_result(None)
        )
        try:
            await done
        finally:
            timer.cancel()
        if self.poison & set(items):
            raise ValueError(f"poison among {items}")
        return [10 * item for item in items]


class Nothing:
    """A queue of no devices, for tickets of which only the order matters."""

    cost = trust = Cost({1: 1.0})
    max_batch = max_items = devices = 1
    waiting = 0

    def free_in_s(self) -> float:
        return 0.0


def ticket(turn: float = 0, jobs: int = 0) -> Ticket:
    """A ticket for the batcher or the pool alone: by its turn, then in the order in which it was made."""
    turns = Turns()
    mine = turns.ask("", "", 0, 1.0, 0.0, 0.0)
    turns.enter(mine)
    mine.number = next(_numbers)
    mine.move(turn)
    return Ticket(turns, mine, Nothing(), [Job(Cost({1: 1.0}), 1.0, 1.0) for _ in range(jobs)], math.inf)
