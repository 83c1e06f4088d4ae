"""Pictures of several sizes in one queue, on a clock that stands still."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from service.scheduling.admission import Admission
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.cost import Cost
from tests.fakes import ManualClock, settle

CURVE_S = {1.0: 0.015, 4.0: 0.055}
CALLERS = 16


class Network:
    """A device that refuses batches of two sizes, and keeps the size and the number of each."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock, self._cost = clock, Cost(CURVE_S)
        self.batches: list[tuple[int, int]] = []

    async def available(self) -> None:
        return

    async def predict(self, items: Sequence[int]) -> list[int]:
        [size] = set(items)
        self.batches.append((size, len(items)))
        done = asyncio.Event()
        self._clock.call_at(self._clock.now() + self._cost.estimate_s(len(items)), done.set)
        await done.wait()
        return list(items)


async def saturated(sizes: int, *, max_batch: int, seconds: float = 20.0) -> tuple[Network, list[int]]:
    """Have callers ask without a pause, each time of a size by chance; return batches, and answers each."""
    clock = ManualClock()
    network, admission = Network(clock), Admission(2, clock)
    answers = [0] * CALLERS
    options = BatchOptions(max_batch=max_batch, max_items=256)

    async def ask_again_and_again(number: int) -> None:
        chance = random.Random(number)
        while True:
            with admission.admit(batcher, caller=str(number)) as ticket, batcher.place(ticket) as place:
                await place.submit(chance.randrange(sizes))
            answers[number] += 1

    batcher = Batcher([network], options, Cost(CURVE_S), clock, kind=lambda size: size)
    async with batcher:
        tasks = [asyncio.create_task(ask_again_and_again(number)) for number in range(CALLERS)]
        await clock.advance(seconds)
        for task in tasks:
            task.cancel()
        await settle()
        batcher.abandon()
    return network, answers


def mean_batch(network: Network) -> float:
    return sum(count for _, count in network.batches) / len(network.batches)


@pytest.mark.parametrize("max_batch", [2, 4])
async def test_batches_of_four_sizes_are_nearly_as_full_as_those_of_one(max_batch: int) -> None:
    (one, _), (four, _) = [await saturated(sizes, max_batch=max_batch) for sizes in (1, 4)]
    assert mean_batch(one) == pytest.approx(max_batch, rel=0.02)
    assert mean_batch(four) >= 0.7 * mean_batch(one)


async def test_every_caller_and_every_size_gets_its_share_at_saturation() -> None:
    network, answers = await saturated(4, max_batch=4)
    assert min(answers) >= 0.9 * max(answers)
    seen = [sum(count for size, count in network.batches if size == one) for one in range(4)]
    assert min(seen) >= 0.8 * max(seen)
