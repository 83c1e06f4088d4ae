"""Prepare, predict and finish at the same time: threads around a network that is asked from one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

PreparedT = TypeVar("PreparedT")
AnswerT = TypeVar("AnswerT")

_AHEAD = 2
"""Batches that are prepared before they are needed, and that may wait to be finished."""


def overlapped(
    tasks: Iterable[Callable[[], PreparedT | None]],
    predict: Callable[[Sequence[PreparedT]], Iterable[Any]],
    finish: Callable[[PreparedT, Any], AnswerT],
    *,
    batch: int,
    preparers: int,
    finishers: int,
) -> Generator[Future[AnswerT], None, None]:
    """Yield a future for each task, in their order; what a thread raised is raised by its future.

    At most so much is held at once: two batches before the network, and two after it. With one preparer or
    one finisher, these calls come one after the other, in the tasks' order.

    Args:
        tasks: Each prepares one item, or says with None that there are no more.
        predict: Returns an output for each item, in the caller's own thread; what it raises ends everything.
        finish: Makes the answer of an item and its output.
        batch: How many items `predict` is given, at most.
        preparers: Threads for tasks.
        finishers: Threads for `finish`.
    """
    waiting = iter(tasks)
    prepared: deque[Future[PreparedT | None]] = deque()
    answers: deque[Future[Any]] = deque()
    with _threads("prepare", preparers) as preparing, _threads("finish", finishers) as finishing:
        while True:
            for task in islice(waiting, _AHEAD * batch - len(prepared)):
                prepared.append(preparing.submit(task))
            taken = [prepared.popleft() for _ in range(min(batch, len(prepared)))]
            taken = [
                future for future in taken if future.exception() is not None or future.result() is not None
            ]
            if not taken:
                break
            good = [future.result() for future in taken if future.exception() is None]
            items = [item for item in good if item is not None]
            outputs = iter(zip(items, predict(items) if items else (), strict=True))
            for future in taken:
                failed = future.exception() is not None
                answers.append(future if failed else finishing.submit(finish, *next(outputs)))
            while answers and (answers[0].done() or len(answers) > _AHEAD * batch):
                yield answers.popleft()
        while answers:
            yield answers.popleft()


@contextmanager
def _threads(name: str, count: int) -> Iterator[Executor]:
    """Give threads; leaving early cancels what has not begun."""
    with ThreadPoolExecutor(count, thread_name_prefix=name) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
