"""The batcher, by hand, with a clock that stands still."""

import asyncio
from contextlib import suppress

import pytest

from service.contract.errors import InferenceFailed, NotReady
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.cost import Cost
from tests.fakes import ManualClock, TenfoldDevice, settle, ticket


def batcher(
    devices: list[TenfoldDevice],
    clock: ManualClock,
    *,
    max_batch: int = 4,
    max_items: int = 16,
    delay_s: float = 0.0,
) -> Batcher[int, int]:
    options = BatchOptions(max_batch=max_batch, max_items=max_items, delay_s=delay_s)
    return Batcher(devices, options, Cost({1: 1.0, 4: 1.0}), clock)


async def ask(on: Batcher[int, int], item: int, *, turn: int = 0) -> int:
    with on.place(ticket(turn)) as place:
        return (await place.submit(item)).result


def start(on: Batcher[int, int], *items: int, turn: int = 0) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(ask(on, item, turn=turn)) for item in items]


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
            with on.place(ticket()) as place:
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


async def test_tickets_go_in_their_order() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, max_batch=2) as on:
        start(on, 0)
        await settle()
        low, high = start(on, 1, 2), start(on, 3, 4, turn=-5)
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


async def test_a_caller_who_leaves_while_its_batch_runs_harms_nobody() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock) as on:
        gone, stays = start(on, 1, 2)
        await clock.advance(0.5)
        gone.cancel()
        await clock.advance(0.5)
        assert await stays == 20


async def test_an_item_on_its_way_holds_a_place() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock)], clock) as on:
        with on.place(ticket()):
            assert on.waiting == 1
        assert on.waiting == 0


async def test_the_wait_for_a_device_is_what_is_left_of_the_batch_that_ends_first() -> None:
    clock = ManualClock()
    async with batcher([TenfoldDevice(clock), TenfoldDevice(clock)], clock) as on:
        tasks = start(on, 1)
        await clock.advance(0.25)
        assert on.free_in_s() == 0.0
        tasks += start(on, 2)
        await clock.advance(0.25)
        assert on.free_in_s() == 0.5
        await clock.advance(1.0)
        assert (on.free_in_s(), await asyncio.gather(*tasks)) == (0.0, [10, 20])


async def test_a_free_device_waits_for_what_is_coming_but_no_longer_than_it_may() -> None:
    clock = ManualClock()
    device = TenfoldDevice(clock)
    async with batcher([device], clock, delay_s=0.5) as on:
        with on.place(ticket()) as coming:
            (task,) = start(on, 1)
            await clock.advance(0.25)
            assert device.batches == []
            other = asyncio.create_task(coming.submit(2))
            await settle()
            assert device.batches == [[2, 1]]  # nobody else is coming, and 2 was announced first
            await clock.advance(1.0)
            assert (await task, (await other).result) == (10, 20)
        with on.place(ticket()):
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
