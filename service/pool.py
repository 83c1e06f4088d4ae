"""Threads for the work around the network, with a queue that can be left.

Jobs wait outside the threads, so that a caller who goes away takes his job with him, and work that finishes a
request goes before work that begins one. It does not know what jobs do.
"""

import asyncio
import contextvars
from bisect import insort
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="codec")

    @property
    def waiting(self) -> int:
        """How many jobs have no thread yet."""
        return len(self._waiting)

    def predicted_wait_s(self) -> float:
        """Return how long a job that comes now, and goes behind all others, will wait for a thread."""
        return sum(self.mean_s(job.kind) for job in self._waiting) / self.threads

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
