"""A backend on its thread: what happens when it hangs, fails, or cannot be rebuilt."""

import asyncio
from threading import Barrier

import numpy as np
import pytest

from service.backends import BackendError
from service.contract.errors import InferenceFailed
from service.scheduling.worker import Worker
from tests.service.green import POISON, SIZE, GreenFactory


def image(green: int) -> np.ndarray:
    return np.full((*SIZE, 3), green, np.uint8)


def worker(factory: GreenFactory, changes: list[str | None], hang_timeout_s: float = 5.0) -> Worker:
    return Worker("green", factory.build, hang_timeout_s=hang_timeout_s, on_change=changes.append)


async def greens(on: Worker, *values: int) -> list[float]:
    return [float(answer[0, 0]) * 256 - 1 for answer in await on.predict([image(value) for value in values])]


async def test_it_answers_each_image_in_order() -> None:
    on = worker(GreenFactory(), [])
    await on.start()
    assert await greens(on, 3, 1, 2) == [3, 1, 2]
    await on.close()


async def test_a_backend_that_cannot_be_built_is_an_error_at_the_start() -> None:
    factory = GreenFactory()
    factory.break_down()
    with pytest.raises(BackendError, match="broken"):
        await worker(factory, []).start()


async def test_a_batch_that_takes_too_long_is_answered_and_its_backend_replaced() -> None:
    factory, changes = GreenFactory(), []
    on = worker(factory, changes, hang_timeout_s=0.1)
    await on.start()
    factory.gate.clear()
    with pytest.raises(InferenceFailed, match="restarted"):
        await greens(on, 1)
    factory.gate.set()
    await asyncio.wait_for(on.available(), 30)
    assert (changes, on.hung, len(factory.opened)) == (["hung", None], 1, 2)
    assert await greens(on, 7) == [7]
    await on.close()


async def test_while_the_event_loop_waits_for_a_backend_it_does_other_things() -> None:
    factory = GreenFactory()
    on = worker(factory, [])
    await on.start()
    factory.gate.clear()
    asking = asyncio.create_task(greens(on, 5))
    await asyncio.to_thread(factory.entered.wait, 5)
    assert not asking.done()
    factory.gate.set()
    assert await asking == [5]
    await on.close()


async def test_bad_images_one_at_a_time_do_not_cost_the_backend_its_place() -> None:
    factory, changes = GreenFactory(), []
    on = worker(factory, changes)
    await on.start()
    for _ in range(5):
        with pytest.raises(ValueError, match="poison"):
            await greens(on, POISON)
        assert await greens(on, 1) == [1]
    assert (changes, len(factory.opened)) == ([], 1)
    await on.close()


async def test_a_backend_that_fails_again_and_again_is_replaced() -> None:
    factory, changes = GreenFactory(), []
    on = worker(factory, changes)
    await on.start()
    factory.failing = True
    for _ in range(3):
        with pytest.raises(ValueError, match="poison"):
            await greens(on, 1)
    factory.failing = False
    await asyncio.wait_for(on.available(), 30)
    assert (changes, len(factory.opened)) == (["failed", None], 2)
    assert await greens(on, 2) == [2]
    await on.close()


async def test_rebuilding_is_tried_until_it_succeeds() -> None:
    factory, changes = GreenFactory(), []
    on = worker(factory, changes)
    await on.start()
    factory.failing = True
    factory.break_down()
    for _ in range(3):
        with pytest.raises(ValueError, match="poison"):
            await greens(on, 1)
    with pytest.raises(InferenceFailed, match="lost"):
        await greens(on, 1)
    assert await asyncio.to_thread(factory.refused.wait, 5)
    factory.failing, factory.error = False, None
    await asyncio.wait_for(on.available(), 30)
    assert changes == ["failed", None]
    await on.close()


async def test_whoever_closes_it_while_it_rebuilds_ends_the_rebuilding() -> None:
    factory = GreenFactory()
    on = worker(factory, [])
    await on.start()
    factory.failing = True
    factory.break_down()
    for _ in range(3):
        with pytest.raises(ValueError, match="poison"):
            await greens(on, 1)
    await on.close()
    factory.error = None
    await asyncio.sleep(0.7)  # longer than the pause before the second attempt
    assert on.backend is None


async def test_a_backend_with_two_lanes_is_given_two_batches_at_once() -> None:
    factory = GreenFactory()
    factory.lanes = 2
    on = worker(factory, [])
    await on.start()
    factory.together = Barrier(2)  # neither ends before the other has begun
    assert await asyncio.gather(greens(on, 5), greens(on, 6)) == [[5], [6]]
    await on.close()


async def test_two_batches_that_hang_one_backend_are_both_answered_and_cost_it_once() -> None:
    factory, changes = GreenFactory(), []
    factory.lanes = 2
    on = worker(factory, changes, hang_timeout_s=0.1)
    await on.start()
    factory.gate.clear()
    answers = await asyncio.gather(greens(on, 1), greens(on, 2), return_exceptions=True)
    assert all(isinstance(answer, InferenceFailed) for answer in answers)
    factory.gate.set()
    await asyncio.wait_for(on.available(), 30)
    assert (changes, on.hung, len(factory.opened)) == (["hung", None], 2, 2)
    assert await asyncio.gather(greens(on, 7), greens(on, 8)) == [[7], [8]]
    await on.close()
