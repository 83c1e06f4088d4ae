"""What is accepted and what is refused, with a clock that stands still."""

import asyncio
import contextlib
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.errors import DeadlineExceeded, Overloaded
from service.scheduling.admission import Admission, Ticket
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.clock import until
from service.scheduling.cost import Cost
from tests.fakes import ManualClock, TenfoldDevice, settle

SECOND_EACH = {1.0: 1.0}


class Devices:
    """A model's queue, with the costs of its batches, that is always empty and idle by itself."""

    def __init__(self, curve_s: dict[float, float], max_batch: int = 1, max_items: int = 100) -> None:
        self.cost, self.trust = Cost(curve_s), Cost({1e-9: 1e-9})
        self.max_batch, self.max_items, self.devices = max_batch, max_items, 1
        self.waiting = 0
        self.busy_s = 0.0

    def free_in_s(self) -> float:
        return self.busy_s


class Accepted(contextlib.ExitStack):
    """Requests that were accepted and are not answered yet."""

    def __init__(self, admission: Admission, queue: Devices) -> None:
        super().__init__()
        self.admission, self.queue = admission, queue

    def add(
        self,
        jobs: Sequence[tuple[str, float]] = (),
        *,
        priority: int = 0,
        deadline_s: float = math.inf,
    ) -> Ticket:
        asked = self.admission.admit(self.queue, jobs, priority=priority, deadline_s=deadline_s)
        ticket = self.enter_context(asked)
        self.queue.waiting += 1
        return ticket


async def test_a_request_that_cannot_meet_its_deadline_is_refused_at_once() -> None:
    queue = Devices(SECOND_EACH)
    with Accepted(Admission(1, ManualClock()), queue) as accepted:
        accepted.add()
        accepted.add()
        with pytest.raises(Overloaded) as refused:
            accepted.add(deadline_s=3.5)  # it takes 3, and a batch may have begun just before
        assert refused.value.retry_after_s == pytest.approx(0.5)
        accepted.add(deadline_s=4.1)


async def test_what_runs_is_waited_for() -> None:
    queue = Devices(SECOND_EACH)
    queue.busy_s = 1.0
    with Accepted(Admission(1, ManualClock()), queue) as accepted:
        with pytest.raises(Overloaded):
            accepted.add(deadline_s=2.0)
        accepted.add(deadline_s=2.6)


async def test_whoever_is_not_alone_is_told_of_a_batch_that_they_share() -> None:
    queue = Devices({1.0: 1.0, 4.0: 4.0}, max_batch=4)
    queue.busy_s = 1.0
    with Accepted(Admission(1, ManualClock()), queue) as accepted:
        accepted.add()
        accepted.add()
        with pytest.raises(Overloaded):
            accepted.add(deadline_s=6.9)  # 1 until the device is free, a batch of three, and one before it
        accepted.add(deadline_s=7.1)


async def test_a_request_that_is_alone_is_tried_whatever_the_estimate_says() -> None:
    with Accepted(Admission(1, ManualClock()), Devices({1.0: 1000.0})) as accepted:
        accepted.add(deadline_s=2.0)


async def test_a_high_priority_is_not_refused_for_those_behind_it() -> None:
    queue = Devices(SECOND_EACH)
    queue.busy_s = 0.5
    with Accepted(Admission(1, ManualClock()), queue) as accepted:
        for _ in range(8):
            accepted.add()
        with pytest.raises(Overloaded):
            accepted.add(deadline_s=3.0)
        accepted.add(deadline_s=3.0, priority=1)


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    queue = Devices({1.0: 1.0, 2.0: 1.0}, max_batch=2, max_items=4)
    queue.busy_s = 1.0
    with Accepted(Admission(1, ManualClock()), queue) as accepted:
        for _ in range(4):
            accepted.add()
        with pytest.raises(Overloaded, match="4 images are waiting") as refused:
            accepted.add()
        assert refused.value.retry_after_s == pytest.approx(3.0)  # what runs, and two batches of two


async def test_the_jobs_of_those_before_count_until_each_is_done() -> None:
    admission = Admission(2, ManualClock())
    decode = [("decode", 1.0), ("encode", 2.0)]
    prior_s = 0.015 + 0.030

    def wait_s(accepted: Accepted) -> float:
        with pytest.raises(Overloaded) as refused:
            accepted.add(deadline_s=0.0)
        return float(str(refused.value).partition("is ")[2].partition(" s")[0])

    with Accepted(admission, Devices({1.0: 1e-6})) as accepted:
        tickets = [accepted.add(decode) for _ in range(20)]
        assert wait_s(accepted) == pytest.approx(20 * prior_s / 2, abs=0.01)
        for ticket in tickets[:10]:
            ticket.end_job()
        assert wait_s(accepted) == pytest.approx((20 * prior_s - 10 * 0.015) / 2, abs=0.01)


async def took(
    admission: Admission, queue: Devices, clock: ManualClock, seconds: float, error: BaseException | None
) -> None:
    ends = (ValueError, asyncio.CancelledError, DeadlineExceeded)
    with contextlib.suppress(*ends), admission.admit(queue, ()):
        await clock.advance(seconds)
        if error is not None:
            raise error


async def test_being_too_late_teaches_what_failing_and_leaving_do_not() -> None:
    clock = ManualClock()
    admission, queue = Admission(1, clock), Devices(SECOND_EACH)
    queue.busy_s = 0.001
    for error in (ValueError(), asyncio.CancelledError()):
        await took(admission, queue, clock, 3.0, error)
    await took(
        admission, queue, clock, 0.5, DeadlineExceeded("a deadline shorter than predicted says nothing")
    )
    assert queue.trust.within_s(1.0) == 1.25
    await took(admission, queue, clock, 3.0, DeadlineExceeded("late"))
    assert queue.trust.within_s(1.0) > 1.25


async def test_a_request_that_was_alone_tells_nothing_of_queues() -> None:
    clock = ManualClock()
    admission, queue = Admission(1, clock), Devices(SECOND_EACH)
    await took(admission, queue, clock, 3.0, None)
    assert queue.trust.within_s(1.0) == 1.25


async def test_of_those_who_stand_in_one_queue_only_one_is_asked() -> None:
    clock = ManualClock()
    one, many = Devices(SECOND_EACH), Devices(SECOND_EACH)
    one.busy_s = many.busy_s = 0.001
    alone, crowd = Admission(1, clock), Admission(1, clock)
    with alone.admit(one, ()), crowd.admit(many, ()), crowd.admit(many, ()), crowd.admit(many, ()):
        await clock.advance(2.0)
    assert one.trust.within_s(1.0) == many.trust.within_s(1.0) > 1.25


class Unsteady(TenfoldDevice):
    """Takes a random time for each batch, around a mean that nobody was told."""

    def __init__(self, clock: ManualClock, chance: random.Random) -> None:
        super().__init__(clock)
        self.chance = chance
        self.mean_s = 1 / chance.uniform(0.4, 3.0)

    async def predict(self, items: Sequence[int]) -> list[int]:
        self.seconds = self.mean_s * self.chance.uniform(0.5, 1.5)
        return await super().predict(items)


class Overload:
    """One device that takes other times than were measured, and twice as many callers as it can answer."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.clock = ManualClock()
        self.device = Unsteady(self.clock, chance)
        self.deadline_s = chance.uniform(40, 80) * self.device.mean_s
        self.admission = Admission(1, self.clock)
        self.answered = self.expired = 0
        self.calls: set[asyncio.Task[None]] = set()
        self.on: Batcher[int, int] = Batcher(
            [self.device], BatchOptions(max_batch=1, max_items=1000), Cost(SECOND_EACH), self.clock
        )

    async def call(self) -> None:
        deadline_s = self.clock.now() + self.deadline_s
        try:
            with (
                self.admission.admit(self.on, (), deadline_s=deadline_s) as ticket,
                self.on.place(ticket) as place,
            ):
                try:
                    async with until(self.clock, deadline_s):
                        await place.submit(1)
                except TimeoutError:
                    raise DeadlineExceeded("late") from None
            self.answered += 1
        except DeadlineExceeded:
            self.expired += 1
        except Overloaded:
            pass

    async def go_on(self, callers: int) -> None:
        self.answered = self.expired = 0
        for _ in range(callers):
            task = asyncio.create_task(self.call())
            self.calls.add(task)
            task.add_done_callback(self.calls.discard)
            await self.clock.advance(self.device.mean_s / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_under_twice_the_load_nearly_all_that_is_accepted_is_answered(seed: int) -> None:
    async def run() -> None:
        overload = Overload(seed)
        async with overload.on:
            await overload.go_on(200)
            await overload.go_on(800)
            assert overload.expired <= 4
            assert overload.answered >= 0.9 * 400  # of what one device can do meanwhile
            await overload.clock.advance(2 * overload.deadline_s)
            await settle()

    asyncio.run(run())
