"""Admission, threads and devices together, on a clock that stands still: everything takes its known time."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from service.contract.errors import Overloaded
from service.scheduling.admission import Admission
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.clock import until
from service.scheduling.cost import Cost
from service.scheduling.pool import WorkPool
from tests.fakes import ManualClock

CURVE_S = {1.0: 0.015, 4.0: 0.055}
"""Of a batch: a student on a CPU."""


@dataclass(frozen=True)
class Work:
    """A codec job, as the pool is given it."""

    seconds: float

    def __call__(self) -> None:
        raise AssertionError("nothing runs it")


class Threads(Executor):
    """Threads that only let time pass."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def submit(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        (work,) = args
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()
        self._clock.call_at(self._clock.now() + work.seconds, lambda: done.set_result(None))
        return done


class Network:
    """A device that takes as long as its curve says, give or take."""

    def __init__(self, clock: ManualClock, noise: Callable[[], float]) -> None:
        self._clock, self._noise, self._cost = clock, noise, Cost(CURVE_S)

    async def available(self) -> None:
        return

    async def predict(self, items: Sequence[int]) -> list[int]:
        done = asyncio.Event()
        seconds = self._cost.estimate_s(len(items)) * self._noise()
        self._clock.call_at(self._clock.now() + seconds, done.set)
        await done.wait()
        return list(items)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request."""

    caller: str
    stream: str
    asked_s: float
    ended_s: float
    what: str
    """`done`, `refused` or `expired`."""


class Simulation:
    """A service without transports and codecs.

    Args:
        seed: Decides everything that varies.
        noise: Everything takes its known time, give or take so much of it.
    """

    def __init__(
        self, seed: int = 0, *, noise: float = 0.0, threads: int = 2, max_batch: int = 4, max_items: int = 256
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self._spread = noise
        self._prior = Cost({0.0: 0.0005, 1.0: 0.015})
        self.pool = WorkPool(threads, self.clock, Threads(self.clock))
        self.admission = Admission(threads, self.clock)
        options = BatchOptions(max_batch=max_batch, max_items=max_items)
        self.batcher = Batcher([Network(self.clock, self._noise)], options, Cost(CURVE_S), self.clock)
        self.outcomes: list[Outcome] = []

    def _noise(self) -> float:
        return 1 + self._spread * self.chance.uniform(-1, 1)

    async def ask(
        self,
        caller: str = "",
        *,
        timeout_s: float,
        megapixels: float = 0.1,
        stream: str = "",
        priority: int = 0,
    ) -> str:
        """Send one request and keep its outcome."""
        asked_s = self.clock.now()
        jobs = [("decode", megapixels), ("finish", megapixels)]
        accepted = self.admission.admit(
            self.batcher,
            jobs,
            caller=caller,
            stream=stream,
            priority=priority,
            deadline_s=asked_s + timeout_s,
        )
        try:
            with accepted as ticket:
                async with until(self.clock, asked_s + timeout_s):
                    with self.batcher.place(ticket) as place:
                        await self.pool.run(ticket, self._work(megapixels))
                        await place.submit(1)
                        await self.pool.run(ticket, self._work(megapixels))
            what = "done"
        except Overloaded:
            what = "refused"
        except TimeoutError:
            what = "expired"
        ended_s = self.clock.now()
        self.outcomes.append(
            Outcome(caller=caller, stream=stream, asked_s=asked_s, ended_s=ended_s, what=what)
        )
        return what

    async def again_and_again(self, caller: str, *, pause_s: float = 0.5, **how: Any) -> None:
        """Ask as soon as the last answer is here; after a refusal, a little later."""
        while True:
            if await self.ask(caller, **how) == "refused":
                await self.sleep(pause_s)

    async def sleep(self, seconds: float) -> None:
        """Wait, on this clock."""
        over = asyncio.Event()
        self.clock.call_at(self.clock.now() + seconds, over.set)
        await over.wait()

    def count(
        self, what: str, caller: str | None = None, since_s: float = 0.0, *, stream: str | None = None
    ) -> int:
        """Return how many had an outcome."""
        return sum(
            each.what == what
            and caller in (None, each.caller)
            and stream in (None, each.stream)
            and each.ended_s >= since_s
            for each in self.outcomes
        )

    def _work(self, megapixels: float) -> Work:
        return Work(self._prior.estimate_s(megapixels) * self._noise())
