"""The batcher, by hand, with a clock that stands still."""

import asyncio
from contextlib import suppress

import pytest

from service.batch_cost import BatchCost
from service.batching import Batcher, BatchOptions
from service.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded
from tests.fakes import ManualClock, TenfoldDevice, settle

SECOND_EACH = BatchCost({1: 1.0})


def batcher(
    devices: list[TenfoldDevice],
    clock: ManualClock,
    *,
    max_batch: int = 4,
    max_items: int = 16,
    delay_s: float = 0.0,
    cost: BatchCost | None = None,
) -> Batcher[int, int]:
    options = BatchOptions(max_batch=max_batch, max_items=max_items, delay_s=delay_s)
    return Batcher(devices, options, cost or BatchCost({1: 1.0, 4: 1.0}), clock)


async def ask(on: Batcher[int, int], item: int, *, priority: int = 0, deadline_s: float | None = None) -> int:
    with on.place(priority=priority, deadline_s=deadline_s) as place:
        return (await place.submit(item)).result


def start(
    on: Batcher[int, int], *items: int, priority: int = 0, deadline_s: float | None = None
) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(ask(on, item, priority=priority, deadline_s=deadline_s)) for item in items]


async def test_a_free_device_starts_at_once_and_a_busy_one_finds_a_batch_when_it_is_done() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock) as on:
        tasks = start(on, 1)
        await settle()
        assert device.batches == [[1]]
        tasks += start(on, 2, 3, 4)
        await clock.advance(2.0)
        assert device.batches == [[1], [2, 3, 4]]
        assert [await task for task in tasks] == [10, 20, 30, 40]


async def test_an_answer_says_how_long_it_waited_and_with_how_many() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock) as on:
        first = start(on, 1)
        await clock.advance(0.25)

        async def whole(item: int):
            with on.place() as place:
                return await place.submit(item)

        tasks = [asyncio.create_task(whole(item)) for item in (2, 3)]
        await clock.advance(1.75)
        answered = await tasks[0]
        assert (answered.result, answered.queue_s, answered.predict_s, answered.batch_size) == (
            20,
            0.75,
            1.0,
            2,
        )
        assert first[0].result() == 10


async def test_no_batch_is_larger_than_allowed() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, max_batch=2) as on:
        tasks = start(on, 1, 2, 3, 4, 5)
        await clock.advance(3.0)
        assert [len(batch) for batch in device.batches] == [2, 2, 1]
        assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]


async def test_higher_priorities_go_first_and_equals_keep_their_order() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, max_batch=2) as on:
        start(on, 0)
        await settle()
        low, high = start(on, 1, 2), start(on, 3, 4, priority=5)
        await clock.advance(3.0)
        assert device.batches == [[0], [3, 4], [1, 2]]
        assert await asyncio.gather(*low, *high) == [10, 20, 30, 40]


async def test_devices_share_one_queue() -> None:
    clock = ManualClock()
    quick, slow = TenfoldDevice(clock, 1.0), TenfoldDevice(clock, 10.0)
    async with batcher([slow, quick], clock, max_batch=1) as on:
        tasks = start(on, *range(8))
        await clock.advance(10.0)
        assert [len(slow.batches), len(quick.batches)] == [1, 7]
        assert await asyncio.gather(*tasks) == [10 * item for item in range(8)]


async def test_a_device_that_is_not_available_takes_nothing() -> None:
    clock = ManualClock()
    down, up = TenfoldDevice(clock), TenfoldDevice(clock)
    down.up.clear()
    async with batcher([down, up], clock) as on:
        tasks = start(on, 1, 2)
        await clock.advance(1.0)
        assert await asyncio.gather(*tasks) == [10, 20]
        assert down.batches == []


async def test_a_device_that_is_lost_while_it_waits_for_work_takes_none() -> None:
    clock = ManualClock()
    lost, other = TenfoldDevice(clock), TenfoldDevice(clock)
    async with batcher([lost, other], clock) as on:
        await settle()
        lost.up.clear()
        tasks = start(on, 1, 2)
        await clock.advance(1.0)
        assert (lost.batches, other.batches) == ([], [[1, 2]])
        other.up.clear()
        tasks += start(on, 3)
        await clock.advance(1.0)
        assert on.waiting == 1
        lost.up.set()
        await clock.advance(1.0)
        assert lost.batches == [[3]]
        assert [await task for task in tasks] == [10, 20, 30]


async def test_one_bad_item_fails_alone() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock, poison=[2])
    async with batcher([device], clock) as on:
        tasks = start(on, 1, 2, 3)
        await clock.advance(4.0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [results[0], results[2]] == [10, 30]
        assert isinstance(results[1], InferenceFailed)


async def test_the_devices_own_verdict_is_given_to_the_whole_batch_without_a_second_try() -> None:
    clock = ManualClock()

    class Lost(TenfoldDevice):
        async def predict(self, items):
            self.batches.append(list(items))
            raise InferenceFailed("lost")

    device = Lost(clock)
    async with batcher([device], clock) as on:
        results = await asyncio.gather(*start(on, 1, 2), return_exceptions=True)
        assert [str(result) for result in results] == ["lost", "lost"]
        assert device.batches == [[1, 2]]


async def test_too_few_results_are_nobodys_results() -> None:
    clock = ManualClock()

    class Short(TenfoldDevice):
        async def predict(self, items):
            return [10 * item for item in items][:1]

    async with batcher([Short(clock)], clock) as on:
        assert await asyncio.gather(*start(on, 1, 2)) == [10, 20]  # one by one, each has its own


async def test_a_cancelled_item_frees_its_place_at_once_and_is_never_run() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock) as on:
        start(on, 0)
        await settle()
        gone, stays = start(on, 1, 2)
        await settle()
        assert on.waiting == 2
        gone.cancel()
        await settle()
        assert on.waiting == 1
        await clock.advance(2.0)
        assert device.batches == [[0], [2]]
        assert await stays == 20


async def test_a_caller_who_leaves_while_his_batch_runs_harms_nobody() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock) as on:
        gone, stays = start(on, 1, 2)
        await clock.advance(0.5)
        gone.cancel()
        await clock.advance(0.5)
        assert await stays == 20


async def test_a_deadline_is_answered_when_it_passes_even_while_the_batch_still_runs() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock, seconds=100.0)
    async with batcher([device], clock) as on:
        (task,) = start(on, 1, deadline_s=3.0)
        await clock.advance(2.9)
        assert not task.done()
        await clock.advance(0.1)
        assert isinstance(task.exception(), DeadlineExceeded)
        await clock.advance(100.0)


async def test_an_item_that_expires_in_the_queue_is_never_run() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock, seconds=5.0)
    async with batcher([device], clock, cost=BatchCost({1: 0.001})) as on:
        start(on, 0)
        await clock.advance(1.0)
        (task,) = start(on, 1, deadline_s=2.0)
        await clock.advance(10.0)
        assert isinstance(task.exception(), DeadlineExceeded)
        assert device.batches == [[0]]
        assert on.waiting == 0


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, max_batch=2, max_items=4, cost=BatchCost({1: 1.0, 2: 1.0})) as on:
        start(on, 0)
        await settle()
        waiting = start(on, 1, 2, 3, 4)
        await settle()
        with pytest.raises(Overloaded) as refused:
            await ask(on, 5)
        assert refused.value.retry_after_s == pytest.approx(3.0)  # the one that runs, and two batches of two
        await clock.advance(1.0)
        late = start(on, 6)
        await clock.advance(5.0)
        assert await asyncio.gather(*waiting, *late) == [10, 20, 30, 40, 60]


async def test_an_item_on_its_way_holds_a_place() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock)], clock, max_items=1) as on:
        with on.place():
            assert on.waiting == 1
            with pytest.raises(Overloaded), on.place():
                pass
        assert on.waiting == 0


async def test_what_cannot_meet_its_deadline_is_refused_at_once() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, max_batch=1, cost=SECOND_EACH) as on:
        running = start(on, 0, 1, 2)  # three seconds of work
        await settle()
        with pytest.raises(Overloaded) as refused:
            await ask(on, 3, deadline_s=3.5)  # would be done after 4
        assert refused.value.retry_after_s == pytest.approx(0.5)
        running += start(on, 3, deadline_s=4.5)
        await clock.advance(4.0)
        assert await asyncio.gather(*running) == [0, 10, 20, 30]


async def test_who_is_not_alone_is_told_of_a_batch_that_he_shares() -> None:
    clock = ManualClock()
    cost = BatchCost({1: 1.0, 4: 4.0})
    async with batcher([TenfoldDevice(clock)], clock, max_batch=4, cost=cost) as on:
        assert on.predicted_batch_s() == 1.0
        tasks = start(on, 0)
        await settle()
        tasks += start(on, 1, 2)
        await settle()
        assert on.predicted_batch_s() == 3.0
        tasks += start(on, 3, 4, 5, 6)
        await settle()
        assert on.predicted_batch_s() == 4.0
        assert on.predicted_batch_s(priority=1) == 1.0
        await clock.advance(3.0)
        await asyncio.gather(*tasks)


async def test_an_idle_device_tries_whatever_the_estimate_says() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock)], clock, cost=BatchCost({1: 1000.0})) as on:
        (task,) = start(on, 1, deadline_s=2.0)
        await clock.advance(1.0)
        assert await task == 10


async def test_a_high_priority_is_not_refused_for_those_behind_it() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock)], clock, max_batch=1, cost=SECOND_EACH) as on:
        tasks = start(on, *range(8))
        await settle()
        with pytest.raises(Overloaded):
            await ask(on, 8, deadline_s=3.0)
        tasks += start(on, 8, deadline_s=3.0, priority=1)
        await clock.advance(10.0)
        assert await asyncio.gather(*tasks) == [10 * item for item in range(9)]


async def test_a_free_device_waits_for_what_is_coming_but_no_longer_than_it_may() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, delay_s=0.5) as on:
        with on.place() as coming:
            (task,) = start(on, 1)
            await clock.advance(0.25)
            assert device.batches == []
            other = asyncio.create_task(coming.submit(2))
            await settle()
            assert device.batches == [[1, 2]]  # nobody else is coming
            await clock.advance(1.0)
            assert (await task, (await other).result) == (10, 20)
        with on.place():
            (alone,) = start(on, 3)
            await clock.advance(0.5)
            assert device.batches[1:] == [[3]]
            await clock.advance(1.0)
            assert await alone == 30


async def test_a_delay_costs_a_lone_item_nothing() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, delay_s=0.5) as on:
        start(on, 1)
        await settle()
        assert device.batches == [[1]]
        await clock.advance(1.0)


async def test_leaving_answers_what_was_accepted_and_refuses_what_comes() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    on = batcher([device], clock, max_batch=1)
    await on.__aenter__()
    tasks = start(on, 1, 2)
    await settle()
    leaving = asyncio.create_task(on.__aexit__(None, None, None))
    await settle()
    with pytest.raises(NotReady):
        await ask(on, 3)
    await clock.advance(2.0)
    await leaving
    assert await asyncio.gather(*tasks) == [10, 20]


async def test_abandoning_answers_everything_at_once() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock, seconds=1e9)
    async with batcher([device], clock, max_batch=1) as on:
        tasks = start(on, 1, 2, 3)
        await settle()
        on.abandon()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [NotReady] * 3


async def test_abandoning_answers_those_of_a_failed_batch_whose_own_turn_has_not_come() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock, poison=[1])
    async with batcher([device], clock) as on:
        tasks = start(on, 1, 2, 3)
        await clock.advance(1.5)  # the batch has failed, and 1 is being tried by itself
        on.abandon()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [NotReady] * 3


async def test_the_queue_is_empty_again_after_a_storm_of_disconnects() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock)], clock, max_items=200) as on:
        tasks = start(on, *range(100))
        await settle()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        assert on.waiting == 0
        await clock.advance(2.0)
        (later,) = start(on, 7)
        await clock.advance(1.0)
        assert await later == 70
