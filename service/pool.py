"""Threads for the work around the network, with a queue that can be left.

Jobs wait outside the threads, so that a caller who goes away takes his job with him, and work that finishes a
request goes before work that begins one. All jobs that a request will bring are known from its beginning, so
that who comes later hears of all that goes before him. It does not know what jobs do.
"""

import asyncio
import contextvars
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from service.clock import Clock, MonotonicClock

T = TypeVar("T")

_WEIGHT = 0.05
"""Of the newest job in the moving average of a kind's seconds."""


@dataclass(eq=False, slots=True)
class _Waiting:
    order: tuple[int, int, int]
    """Later stages first, then higher priorities, then who came first."""
    kind: str
    turn: asyncio.Future[None]


class Errand:
    """The jobs that one request brings, one after the other.

    Args:
        pool: Does them.
        kinds: Of each job, in their order.
        priority: Of the request.
    """

    def __init__(self, pool: "WorkPool", kinds: Sequence[str], priority: int) -> None:
        self._pool, self._priority = pool, priority
        self.left = list(kinds)
        """Jobs that are not done."""

    async def run(self, work: Callable[[], T], *, stage: int = 0) -> T:
        """Run the next of the jobs; see `WorkPool.run`."""
        try:
            return await self._pool.run(self.left[0], work, stage=stage, priority=self._priority)
        finally:
            self._pool.count(self._priority, [self.left.pop(0)], -1)


class WorkPool:
    """A fixed number of threads; decoding and encoding let go of the interpreter's lock.

    Args:
        threads: How many.
        clock: Monotonic seconds.
    """

    def __init__(self, threads: int, clock: Clock | None = None) -> None:
        self.threads = threads
        self._clock = clock or MonotonicClock()
        self._free = threads
        self._waiting: list[_Waiting] = []
        self._number = 0
        self._seconds: dict[str, float] = {}
        self._ahead: Counter[tuple[int, str]] = Counter()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="codec")

    @property
    def waiting(self) -> int:
        """How many jobs have no thread yet."""
        return len(self._waiting)

    def predicted_wait_s(self, priority: int = 0) -> float:
        """Return how long the threads will be busy with what goes before a request that comes now."""
        ahead_s = sum(
            count * self.mean_s(kind) for (its, kind), count in self._ahead.items() if its >= priority
        )
        return ahead_s / self.threads

    @contextmanager
    def errand(self, kinds: Sequence[str], priority: int = 0) -> Iterator[Errand]:
        """Announce all jobs that a request will bring, by their kinds and in their order."""
        errand = Errand(self, kinds, priority)
        self.count(priority, kinds, 1)
        try:
            yield errand
        finally:
            self.count(priority, errand.left, -1)

    def count(self, priority: int, kinds: Sequence[str], step: int) -> None:
        """Keep count of jobs that are announced and not done."""
        for kind in kinds:
            self._ahead[priority, kind] += step
            if not self._ahead[priority, kind]:
                del self._ahead[priority, kind]

    def mean_s(self, kind: str) -> float:
        """Return how long jobs of a kind have taken lately; 0 where none is known."""
        return self._seconds.get(kind, 0.0)

    async def run(self, kind: str, work: Callable[[], T], *, stage: int = 0, priority: int = 0) -> T:
        """Run work in a thread.

        Args:
            kind: A word that jobs of the same length share.
            work: What to do; it cannot be stopped once it has a thread.
            stage: How far along its request it is; later stages go first.
            priority: Of the request; higher goes first within a stage.
        """
        await self._take_turn(kind, stage, priority)
        loop = asyncio.get_running_loop()
        began_s = self._clock.now()

        def done(_: Future[T]) -> None:
            # By the thread, not by who waits for it: he may have gone.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._give_back, kind, began_s)

        try:
            job = self._executor.submit(contextvars.copy_context().run, work)
        except BaseException:  # no thread was taken, whatever the reason
            self._free += 1
            raise
        job.add_done_callback(done)
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Start no further job; those that run end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _take_turn(self, kind: str, stage: int, priority: int) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        self._number += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting((-stage, -priority, self._number), kind, turn)
        insort(self._waiting, waiting, key=lambda job: job.order)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on()  # it was this job's turn, and nobody is there to take it
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _give_back(self, kind: str, began_s: float) -> None:
        seconds = self._clock.now() - began_s
        mean_s = self._seconds.setdefault(kind, seconds)
        self._seconds[kind] = mean_s + _WEIGHT * (seconds - mean_s)
        self._hand_on()

    def _hand_on(self) -> None:
        """Give a free thread to the first job that waits."""
        while self._waiting:
            turn = self._waiting.pop(0).turn
            if not turn.done():  # cancelled in this very turn of the loop, and not yet gone
                turn.set_result(None)
                return
        self._free += 1
