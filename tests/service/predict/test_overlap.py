import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

import numpy as np
import pytest

from service.predict.overlap import overlapped


def tenths(numbers: Sequence[int]) -> list[np.ndarray]:
    return [np.full((1, 1), number / 10, np.float32) for number in numbers]


def pair(number: int, disparity: np.ndarray) -> tuple[int, float]:
    return number, round(float(disparity[0, 0]), 3)


def failing(number: int) -> int:
    raise OSError(f"{number} is broken")


def given(number: int) -> int:
    return number


def options(**changes: int) -> dict[str, int]:
    return {"batch": 2, "preparers": 3, "finishers": 3} | changes


def test_answers_come_in_the_order_of_the_tasks_each_with_its_own_result() -> None:
    def slowest_first(number: int) -> int:
        time.sleep(0.02 * (number % 3 == 0))
        return number

    answers = overlapped((partial(slowest_first, n) for n in range(7)), tenths, pair, **options())
    assert [answer.result() for answer in answers] == [(n, n / 10) for n in range(7)]


def test_what_fails_in_a_thread_takes_nothing_from_its_batch() -> None:
    tasks: list[Callable[[], int]] = [partial(given, 1), partial(failing, 2), partial(given, 3)]
    first, second, third = overlapped(tasks, tenths, pair, **options(batch=3))
    assert (first.result(), third.result()) == ((1, 0.1), (3, 0.3))
    with pytest.raises(OSError, match="2 is broken"):
        second.result()


def test_a_task_that_gives_none_ends_an_endless_row() -> None:
    numbers = iter(range(5))
    endless = iter(lambda: partial(next, numbers, None), 0)
    answers = overlapped(endless, tenths, pair, **options(preparers=1))
    assert [answer.result()[0] for answer in answers] == [0, 1, 2, 3, 4]


def test_no_more_is_held_than_a_few_batches() -> None:
    alive, most, lock = 0, 0, threading.Lock()

    def prepare(number: int) -> int:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return number

    def finish(number: int, disparity: np.ndarray) -> int:
        nonlocal alive
        time.sleep(0.002)
        with lock:
            alive -= 1
        return number

    answers = overlapped((partial(prepare, n) for n in range(60)), tenths, finish, **options(finishers=1))
    assert [answer.result() for answer in answers] == list(range(60))
    assert most <= 2 * 2 + 2 * 2 + 2  # before the network, after it, and the batch that is in it


def test_leaving_early_leaves_no_thread_behind() -> None:
    with closing(overlapped((partial(given, n) for n in range(100)), tenths, pair, **options())) as answers:
        next(answers).result()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("prepare", "finish"))]
