"""What is learned from predictions that were wrong."""

import asyncio
import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DeadlineExceeded
from service.forecast import Forecast
from tests.fakes import ManualClock


async def took(
    forecast: Forecast,
    clock: ManualClock,
    predicted_s: float,
    seconds: float,
    error: BaseException | None = None,
) -> None:
    ends = (ValueError, asyncio.CancelledError, DeadlineExceeded)
    with contextlib.suppress(*ends), forecast.tested(predicted_s):
        await clock.advance(seconds)
        if error is not None:
            raise error


async def test_at_first_and_as_long_as_they_come_true_predictions_have_a_quarter_to_spare() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    assert forecast.within_s(2.0) == 2.5
    for _ in range(100):
        await took(forecast, clock, 0.5, 0.5)
    assert forecast.within_s(2.0) == pytest.approx(2.5)


async def test_where_all_takes_half_as_long_again_all_is_expected_to() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    for _ in range(200):
        await took(forecast, clock, 1.0, 1.5)
    assert forecast.within_s(2.0) == pytest.approx(3.5, rel=1e-3)


async def test_uncertain_predictions_are_reckoned_with_at_their_worst() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    for _ in range(100):
        await took(forecast, clock, 1.0, 0.8)
        await took(forecast, clock, 1.0, 1.2)
    assert forecast.within_s(1.0) > 1.2


async def test_predictions_are_never_taken_for_more_than_they_say() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    for _ in range(200):
        await took(forecast, clock, 1.0, 0.1)
    assert forecast.within_s(1.0) == 1.0


async def test_a_machine_that_stood_still_once_is_soon_trusted_again() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    await took(forecast, clock, 0.1, 60.0)
    assert forecast.within_s(0.1) < 0.5
    for _ in range(100):
        await took(forecast, clock, 0.1, 0.1)
    assert forecast.within_s(0.1) == pytest.approx(0.125, rel=0.02)


async def test_being_too_late_teaches_what_failing_and_leaving_do_not() -> None:
    clock = ManualClock()
    forecast = Forecast(clock)
    for error in (ValueError(), asyncio.CancelledError()):
        await took(forecast, clock, 1.0, 3.0, error)
    await took(forecast, clock, 1.0, 0.5, DeadlineExceeded("a deadline shorter than predicted says nothing"))
    assert forecast.within_s(1.0) == 1.25
    await took(forecast, clock, 1.0, 3.0, DeadlineExceeded("late"))
    assert forecast.within_s(1.0) > 1.25


async def test_of_those_who_stand_in_one_queue_only_one_is_asked() -> None:
    clock = ManualClock()
    one, many = Forecast(clock), Forecast(clock)
    with one.tested(1.0), many.tested(1.0), many.tested(1.0), many.tested(1.0):
        await clock.advance(2.0)
    assert one.within_s(1.0) == many.within_s(1.0) > 1.25


class Overload:
    """One server who takes other times than his queue is told, and twice as many callers as he can answer."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.forecast = Forecast(self.clock)
        self.mean_s = 1 / self.random.uniform(0.4, 3.0)
        """That a caller takes, where one second is predicted."""
        self.deadline_s = self.random.uniform(40, 80) * self.mean_s
        self.turn = asyncio.Lock()
        self.waiting = self.answered = self.expired = 0
        self.calls: set[asyncio.Task[None]] = set()

    async def call(self) -> None:
        predicted_s = self.waiting + 1.0
        if self.waiting and self.forecast.within_s(predicted_s) > self.deadline_s:
            return
        self.waiting += 1
        until_s = self.clock.now() + self.deadline_s
        try:
            with self.forecast.tested(predicted_s):
                async with self.turn:
                    if self.clock.now() < until_s:
                        await self.serve()
                if self.clock.now() > until_s:
                    raise DeadlineExceeded("late")
                self.answered += 1
        except DeadlineExceeded:
            self.expired += 1
        self.waiting -= 1

    async def serve(self) -> None:
        done = asyncio.Event()
        seconds = self.mean_s * self.random.uniform(0.5, 1.5)
        self.clock.call_at(self.clock.now() + seconds, done.set)
        await done.wait()

    async def go_on(self, callers: int) -> None:
        self.answered = self.expired = 0
        for _ in range(callers):
            task = asyncio.create_task(self.call())
            self.calls.add(task)
            task.add_done_callback(self.calls.discard)
            await self.clock.advance(self.mean_s / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_under_twice_the_load_nearly_all_that_is_accepted_is_answered(seed: int) -> None:
    async def run() -> None:
        overload = Overload(seed)
        await overload.go_on(200)
        await overload.go_on(800)
        assert overload.expired <= 4
        assert overload.answered >= 0.9 * 400  # of what one server can do meanwhile
        await overload.clock.advance(2 * overload.deadline_s)

    asyncio.run(run())
