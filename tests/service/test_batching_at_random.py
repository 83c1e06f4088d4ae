"""The batcher under every interleaving of arrivals, failures, cancellations and shutdown."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.errors import InferenceFailed, ServiceError
from service.scheduling.admission import Admission
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.clock import until
from service.scheduling.cost import Cost
from tests.fakes import ManualClock, TenfoldDevice


class Chaos:
    """Random callers on random devices, under a clock that moves at random; the seed decides everything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.devices = [
            TenfoldDevice(self.clock, self.random.choice([0.1, 1.0, 3.0]), self.random.sample(range(60), 6))
            for _ in range(self.random.randint(1, 3))
        ]
        for device in self.devices[1:]:
            device.poison = self.devices[0].poison
        options = BatchOptions(
            max_batch=self.random.randint(1, 5),
            max_items=self.random.choice([3, 10, 100]),
            delay_s=self.random.choice([0.0, 0.0, 0.3]),
        )
        self.on: Batcher[int, int] = Batcher(self.devices, options, Cost({1: 0.5, 5: 1.0}), self.clock)
        self.admission = Admission(1, self.clock)
        self.most = options.max_items
        self.outcomes: dict[int, object] = {}
        self.cancelled: set[int] = set()

    async def caller(self, item: int) -> None:
        deadline_s = self.clock.now() + self.random.choice([1e9, self.random.uniform(0.1, 8.0)])
        asked = self.admission.admit(self.on, (), priority=self.random.randint(-1, 1), deadline_s=deadline_s)
        try:
            with asked as ticket, self.on.place(ticket) as place:
                for _ in range(self.random.randint(0, 3)):  # "decoding"
                    await asyncio.sleep(0)
                if self.random.random() < 0.05:
                    raise KeyError("a caller whose image was bad")
                async with until(self.clock, deadline_s):
                    outcome: object = (await place.submit(item)).result
        except (ServiceError, KeyError, TimeoutError) as error:
            outcome = error
        assert item not in self.outcomes, "answered twice"
        self.outcomes[item] = outcome

    async def run(self) -> None:
        async with asyncio.timeout(30), self.on:
            tasks: list[asyncio.Task[None]] = []
            for item in range(60):
                tasks.append(asyncio.create_task(self.caller(item)))
                if self.random.random() < 0.4:
                    await self.clock.advance(self.random.uniform(0.0, 1.5))
                assert 0 <= self.on.waiting <= self.most
                if self.random.random() < 0.2:
                    chosen = self.random.randrange(len(tasks))
                    if tasks[chosen].cancel():
                        self.cancelled.add(chosen)
            if self.random.random() < 0.3:
                self.on.abandon()
            await self.clock.advance(1000.0)
            await asyncio.gather(*tasks, return_exceptions=True)
        assert self.on.waiting == 0

    def check(self) -> None:
        for item in set(range(60)) - self.cancelled:
            assert item in self.outcomes, f"{item} was never answered"
        for item, outcome in self.outcomes.items():
            if isinstance(outcome, int):
                assert outcome == 10 * item
                assert item not in self.devices[0].poison
            if isinstance(outcome, InferenceFailed):
                assert item in self.devices[0].poison


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_nothing_is_lost_answered_twice_or_answered_with_anothers_result(seed: int) -> None:
    chaos = Chaos(seed)
    asyncio.run(chaos.run())
    chaos.check()
