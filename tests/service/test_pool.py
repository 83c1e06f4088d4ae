"""Threads for decoding and encoding: order, and callers who leave."""

import asyncio
import threading
import time

import pytest

from service.pool import WorkPool
from tests.fakes import settle


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


async def entered(gate: Gate) -> None:
    await asyncio.to_thread(gate.entered.wait, 10)


async def test_what_finishes_a_request_goes_before_what_begins_one_and_higher_priorities_first() -> None:
    pool, gate, done = WorkPool(1), Gate(), []
    first = asyncio.create_task(pool.run("gate", gate))
    await entered(gate)
    jobs = [
        asyncio.create_task(
            pool.run("job", lambda name=name: done.append(name), stage=stage, priority=priority)
        )
        for name, stage, priority in [("a", 0, 0), ("b", 0, 5), ("c", 1, 0), ("d", 0, 0), ("e", 1, 9)]
    ]
    await settle()
    assert pool.waiting == 5
    gate.open()
    await asyncio.gather(first, *jobs)
    assert done == ["e", "c", "b", "a", "d"]
    pool.close()


async def test_a_caller_who_leaves_the_queue_takes_his_job_with_him() -> None:
    pool, gate, done = WorkPool(1), Gate(), []
    first = asyncio.create_task(pool.run("gate", gate))
    await entered(gate)
    leaver, stayer = (
        asyncio.create_task(pool.run("job", lambda name=name: done.append(name)))
        for name in ("leaver", "stayer")
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
    pool, gate = WorkPool(1), Gate()

    def fail() -> None:
        raise ValueError("no")

    leaver = asyncio.create_task(pool.run("gate", gate))
    await entered(gate)
    leaver.cancel()
    failing = asyncio.create_task(pool.run("job", fail))
    last = asyncio.create_task(pool.run("job", lambda: 7))
    await settle()
    assert not failing.done()
    gate.open()
    with pytest.raises(ValueError, match="no"):
        await failing
    assert await last == 7
    assert pool.waiting == 0
    pool.close()


async def test_a_turn_given_to_callers_who_leave_at_that_moment_goes_to_the_next() -> None:
    pool, gate = WorkPool(1), Gate()
    first = asyncio.create_task(pool.run("gate", gate))
    await entered(gate)
    leavers = [asyncio.create_task(pool.run("job", lambda: 1)) for _ in range(40)]
    stayer = asyncio.create_task(pool.run("job", lambda: 2))
    await settle()
    # In the turn of the loop in which the thread comes free, and in the next.
    first.add_done_callback(lambda _: [leaver.cancel() for leaver in leavers[:20]])
    gate.open()
    await first
    for leaver in leavers[20:]:
        leaver.cancel()
    assert await asyncio.wait_for(stayer, 30) == 2
    assert await asyncio.wait_for(pool.run("job", lambda: 3), 30) == 3
    assert pool.waiting == 0
    pool.close()


async def test_a_request_s_jobs_count_from_its_announcement_until_each_is_done() -> None:
    pool, gate = WorkPool(2), Gate()

    async def teach(kind: str) -> float:
        with pool.errand([kind]) as errand:
            await errand.run(lambda: time.sleep(0.02))
        await settle()
        assert pool.predicted_wait_s() == 0.0
        return pool.mean_s(kind)

    decode_s, encode_s = await teach("decode"), await teach("encode")
    assert decode_s >= 0.02
    with pool.errand(["decode", "encode"]) as errand, pool.errand(["encode"]):
        assert pool.predicted_wait_s() == pytest.approx((decode_s + 2 * encode_s) / 2)
        running = asyncio.create_task(errand.run(gate))
        await entered(gate)
        assert pool.predicted_wait_s() == pytest.approx((decode_s + 2 * encode_s) / 2)
        gate.open()
        await running
        await settle()
        assert pool.predicted_wait_s() == pytest.approx(encode_s)
    assert pool.predicted_wait_s() == 0.0
    pool.close()


async def test_those_of_lower_priority_are_not_waited_for() -> None:
    pool = WorkPool(1)
    with pool.errand(["job"]) as errand:
        await errand.run(lambda: time.sleep(0.02))
    await settle()
    with pool.errand(["job"], priority=1):
        assert pool.predicted_wait_s(2) == 0.0
        assert pool.predicted_wait_s(1) == pool.predicted_wait_s(0) == pool.mean_s("job")
    pool.close()


async def test_what_fails_or_is_left_undone_counts_no_longer() -> None:
    pool = WorkPool(1)
    with pool.errand(["job"]) as errand:
        await errand.run(lambda: time.sleep(0.02))
    await settle()
    with pytest.raises(ZeroDivisionError), pool.errand(["job", "job"]) as errand:
        await errand.run(lambda: 1 // 0)
    assert pool.predicted_wait_s() == 0.0
    pool.close()
