"""What callers get of a busy service, on a clock that stands still."""

import asyncio
from collections.abc import Awaitable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduling.turns import Turns
from tests.service.scheduling.simulated import Simulation


async def run(simulation: Simulation, seconds: float, *loads: Awaitable[object]) -> None:
    """Put loads on a service for so long, then end them."""
    async with simulation.batcher:
        tasks = [asyncio.ensure_future(load) for load in loads]
        await simulation.clock.advance(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def crowd(simulation: Simulation, caller: str, size: int, **how: object) -> None:
    """Ask from so many places at once, all under one name, again and again."""
    await asyncio.gather(*(simulation.again_and_again(caller, **how) for _ in range(size)))


async def bursts(simulation: Simulation, caller: str) -> None:
    """Ask now and then, for much at once, of every size, priority and timeout."""
    chance, calls = simulation.chance, []
    try:
        while True:
            await simulation.sleep(chance.uniform(0, 2))
            for _ in range(chance.randint(1, 40)):
                call = simulation.ask(
                    caller,
                    timeout_s=chance.choice([0.3, 1.0, 2.0, 5.0]),
                    megapixels=chance.choice([0.1, 0.5, 2.0, 4.0]),
                    stream=chance.choice(["", "left", "right"]),
                    priority=chance.randint(-2, 2),
                )
                calls.append(asyncio.ensure_future(call))
                if chance.random() < 0.3:
                    await simulation.sleep(chance.uniform(0, 0.05))
    finally:
        for call in calls:
            call.cancel()


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    callers=st.integers(1, 5),
    threads=st.sampled_from([1, 2, 4]),
    max_batch=st.sampled_from([1, 4]),
)
def test_nothing_that_is_accepted_expires(seed: int, callers: int, threads: int, max_batch: int) -> None:
    simulation = Simulation(seed, noise=0.05, threads=threads, max_batch=max_batch)
    asyncio.run(run(simulation, 5.0, *(bursts(simulation, f"key {each}") for each in range(callers))))
    assert simulation.count("done") > 0
    assert simulation.count("expired") == 0


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    priorities=st.lists(st.integers(-1, 2), min_size=2, max_size=4),
    sizes=st.lists(st.sampled_from([20, 40]), min_size=4, max_size=4),
    timeout_s=st.lists(st.sampled_from([1.0, 2.0, 20.0]), min_size=4, max_size=4),
)
def test_no_caller_gets_less_than_its_share(
    seed: int, priorities: list[int], sizes: list[int], timeout_s: list[float]
) -> None:
    """However many requests a caller sends at once, and however patient they are."""
    simulation = Simulation(seed, noise=0.05)
    loads = [
        crowd(simulation, f"key {each}", sizes[each], timeout_s=timeout_s[each], priority=priority)
        for each, priority in enumerate(priorities)
    ]
    asyncio.run(run(simulation, 8.0, *loads))
    since_s = 3.0  # what came first may have taken all there was
    done = [simulation.count("done", f"key {each}", since_s) for each in range(len(priorities))]
    weights = [2.0**priority for priority in priorities]
    for each, weight in enumerate(weights):
        assert done[each] >= 0.85 * sum(done) * weight / sum(weights) - 4, (
            done,
            weights,
        )  # a batch more or less
    assert sum(done) > 0.9 * 5.0 / 0.055 * 4
    assert simulation.count("expired") == 0


async def test_beside_many_callers_of_a_higher_priority_plain_ones_are_answered_or_refused() -> None:
    simulation = Simulation()

    async def plain() -> None:
        await simulation.sleep(2.0)
        await asyncio.gather(*(simulation.ask("plain", timeout_s=2.0) for _ in range(40)))

    await run(simulation, 6.0, crowd(simulation, "fleet", 24, priority=1, timeout_s=2.0), plain())
    assert simulation.count("expired") == 0
    assert simulation.count("done", "plain") + simulation.count("refused", "plain") == 40
    # A third of what 73 images a second are in two seconds, less what is kept to be sure.
    assert simulation.count("done", "plain") >= 25


async def test_the_streams_of_one_caller_share_what_it_gets() -> None:
    simulation = Simulation()
    await run(
        simulation,
        8.0,
        crowd(simulation, "robot", 40, stream="left", timeout_s=2.0),
        crowd(simulation, "robot", 8, stream="right", timeout_s=2.0),
        crowd(simulation, "other", 24, timeout_s=2.0),
    )
    done = simulation.count("done", "robot", 3.0), simulation.count("done", "other", 3.0)
    assert done[0] == pytest.approx(done[1], rel=0.1)
    right = simulation.count("done", "robot", 3.0, stream="right")
    assert right == pytest.approx(done[0] / 2, rel=0.15)


async def test_a_caller_who_fills_the_queue_leaves_room_for_the_next() -> None:
    simulation = Simulation(max_items=40)
    late = crowd(simulation, "late", 24, timeout_s=20.0)

    async def later() -> None:
        await simulation.sleep(2.0)
        await late

    await run(simulation, 8.0, crowd(simulation, "early", 60, timeout_s=20.0), later())
    early, caught_up = (simulation.count("done", caller, 5.0) for caller in ("early", "late"))
    assert caught_up == pytest.approx(early, rel=0.1)


async def test_a_first_large_image_does_not_make_the_service_refuse_small_ones() -> None:
    simulation = Simulation()
    large = simulation.ask("one", timeout_s=30.0, megapixels=33.0)
    small = [simulation.ask("many", timeout_s=2.0) for _ in range(64)]
    await run(simulation, 10.0, large, *small)
    assert (simulation.count("done"), simulation.count("refused")) == (65, 0)


@settings(max_examples=20, deadline=None)
@given(
    callers=st.integers(1, 3000),
    streams=st.integers(1, 3000),
    refused=st.floats(0, 1),
    held=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_however_many_connections_come_and_go_few_are_told_apart_and_none_is_remembered(
    callers: int, streams: int, refused: float, held: int, seed: int
) -> None:
    """Each admission looks at everybody who is known, and a caller without a key is a connection."""
    chance, turns, now_s, open_turns = Random(seed), Turns(), 0.0, []
    for each in [*range(callers), *([callers] * streams)]:
        now_s += chance.uniform(0, 1e-3)
        turn = turns.ask(f"connection {each}", f"stream {chance.random()}", 0, 0.01, 0.01, now_s)
        turns.expected_s(turn, 0.01, now_s)
        if chance.random() < refused:
            continue
        turns.take(turns.places(turn))
        turns.enter(turn)
        if chance.random() < 0.9:
            turns.begin(turn)
        open_turns.append(turn)
        if len(open_turns) > held:
            turns.leave(open_turns.pop(chance.randrange(len(open_turns))), now_s)
    assert turns.known <= min(callers + 1, 320)
    for turn in open_turns:
        turns.leave(turn, now_s)
    last = turns.ask("late", "", 0, 0.01, 0.01, now_s + 5.1)
    assert turns.known == 1
    assert turns.share("late", now_s + 5.1) == 1
    turns.enter(last)
    turns.leave(last, now_s + 5.2)
