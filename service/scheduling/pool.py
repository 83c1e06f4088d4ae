"""Threads for the work around the network, with a queue that can be left.

Jobs wait outside the threads, so that the job of a caller that leaves is dropped.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from service.scheduling.admission import Ticket
from service.scheduling.clock import Clock

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Waiting:
    ticket: Ticket
    turn: asyncio.Future[None]


class WorkPool:
    """A fixed number of threads; decoding and encoding release the interpreter's lock.

    Args:
        threads: How many.
        clock: Measures jobs.
        executor: Runs them; threads of its own where None.
    """

    def __init__(self, threads: int, clock: Clock, executor: Executor | None = None) -> None:
        self._clock = clock
        self._free = threads
        self._waiting: list[_Waiting] = []
        self._executor = executor or ThreadPoolExecutor(threads, thread_name_prefix="codec")

    @property
    def waiting(self) -> int:
        """How many jobs have no thread yet."""
        return len(self._waiting)

    async def run(self, ticket: Ticket, work: Callable[[], T]) -> T:
        """Run the next of a ticket's jobs in a thread; once begun, it cannot be stopped."""
        try:
            return await self._run(ticket, work)
        finally:
            ticket.end_job()

    def close(self) -> None:
        """Start no further job; those that run end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, ticket: Ticket, work: Callable[[], T]) -> T:
        job = ticket.jobs[0]
        await self._take_turn(ticket)
        loop = asyncio.get_running_loop()
        began_s = self._clock.now()

        def done(future: Future[T]) -> None:
            # From the thread, because the caller may have left.
            if not loop.is_closed():
                loop.call_soon_threadsafe(give_back, future)

        def give_back(future: Future[T]) -> None:
            if not future.cancelled() and future.exception() is None:  # a failure says nothing of others
                job.cost.record(job.megapixels, self._clock.now() - began_s)
            self._hand_on()

        try:
            running = self._executor.submit(contextvars.copy_context().run, work)
        except BaseException:  # no thread was taken, whatever the reason
            self._free += 1
            raise
        running.add_done_callback(done)
        return await asyncio.wrap_future(running)

    async def _take_turn(self, ticket: Ticket) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(ticket, turn)
        self._waiting.append(waiting)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on()  # it was this job's turn, and nobody is there to take it
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _hand_on(self) -> None:
        """Give a free thread to the first job that waits."""
        while self._waiting:
            first = min(self._waiting, key=lambda job: job.ticket.order)
            self._waiting.remove(first)
            turn = first.turn
            if not turn.done():  # cancelled in this very turn of the loop, and not yet gone
                turn.set_result(None)
                return
        self._free += 1
