"""Threads for decoding and encoding: order, and callers who leave."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from service.scheduling.clock import MonotonicClock
from service.scheduling.pool import WorkPool
from tests.fakes import settle, ticket

T = TypeVar("T")


class Gate:
    """Work that holds its thread until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._open.wait(10)
        return "through"

    def open(self) -> None:
        self._open.set()


async def run(pool: WorkPool, work: Callable[[], T], turn: float = 0) -> T:
    return await pool.run(ticket(turn, jobs=1), work)


async def entered(gate: Gate) -> None:
    await asyncio.to_thread(gate.entered.wait, 10)


async def test_jobs_go_in_the_order_of_their_tickets() -> None:
    pool, gate, done = WorkPool(1, MonotonicClock()), Gate(), []
    first = asyncio.create_task(run(pool, gate))
    await entered(gate)
    jobs = [
        asyncio.create_task(run(pool, lambda name=name: done.append(name), turn))
        for name, turn in [("a", 5), ("b", 0), ("c", 7), ("d", 5), ("e", -1)]
    ]
    await settle()
    assert pool.waiting == 5
    gate.open()
    await asyncio.gather(first, *jobs)
    assert done == ["e", "b", "a", "d", "c"]
    pool.close()


async def test_a_caller_who_leaves_the_queue_takes_its_job_along() -> None:
    pool, gate, done = WorkPool(1, MonotonicClock()), Gate(), []
    first = asyncio.create_task(run(pool, gate))
    await entered(gate)
    leaver, stayer = (
        asyncio.create_task(run(pool, lambda name=name: done.append(name))) for name in ("leaver", "stayer")
    )
    await settle()
    leaver.cancel()
    await settle()
    assert pool.waiting == 1
    gate.open()
    await asyncio.gather(first, stayer)
    assert done == ["stayer"]
    pool.close()


async def test_a_thread_comes_back_though_its_caller_has_gone_and_its_work_has_failed() -> None:
    pool, gate = WorkPool(1, MonotonicClock()), Gate()

    def fail() -> None:
        raise ValueError("no")

    leaver = asyncio.create_task(run(pool, gate))
    await entered(gate)
    leaver.cancel()
    failing = asyncio.create_task(run(pool, fail))
    last = asyncio.create_task(run(pool, lambda: 7))
    await settle()
    assert not failing.done()
    gate.open()
    with pytest.raises(ValueError, match="no"):
        await failing
    assert await last == 7
    assert pool.waiting == 0
    pool.close()


async def test_a_turn_given_to_callers_who_leave_at_that_moment_goes_to_the_next() -> None:
    pool, gate = WorkPool(1, MonotonicClock()), Gate()
    first = asyncio.create_task(run(pool, gate))
    await entered(gate)
    leavers = [asyncio.create_task(run(pool, lambda: 1)) for _ in range(40)]
    stayer = asyncio.create_task(run(pool, lambda: 2))
    await settle()
    # In the turn of the loop in which the thread comes free, and in the next.
    first.add_done_callback(lambda _: [leaver.cancel() for leaver in leavers[:20]])
    gate.open()
    await first
    for leaver in leavers[20:]:
        leaver.cancel()
    assert await asyncio.wait_for(stayer, 30) == 2
    assert await asyncio.wait_for(run(pool, lambda: 3), 30) == 3
    assert pool.waiting == 0
    pool.close()


async def test_what_is_done_teaches_and_what_fails_does_not() -> None:
    pool = WorkPool(1, MonotonicClock())
    taught, other = ticket(jobs=2), ticket(jobs=1)
    cost, unmoved = taught.jobs[0].cost, other.jobs[0].cost
    await pool.run(taught, lambda: None)
    with pytest.raises(ZeroDivisionError):
        await pool.run(other, lambda: 1 // 0)
    await settle()
    assert cost.estimate_s(1.0) < unmoved.estimate_s(1.0) == 1.0
    assert (len(taught.jobs), len(other.jobs)) == (1, 0)
    pool.close()
