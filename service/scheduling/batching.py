"""Batches of items for devices: everything that waits, as soon as a device is free.

A free device never waits for company, unless it is told to, for items already known to be coming; a busy one
finds a batch when it is done.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from service.contract.errors import InferenceFailed, NotReady, ServiceError
from service.scheduling.admission import Ticket
from service.scheduling.clock import Clock
from service.scheduling.cost import Cost

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Device(Protocol[ItemT_contra, ResultT_co]):
    """Something that turns a batch into results, one batch at a time."""

    async def available(self) -> None:
        """Wait until a batch may be given to it; return in the same turn of the loop where it may be now."""

    async def predict(self, items: Sequence[ItemT_contra]) -> Sequence[ResultT_co]:
        """Return one result for each item, in order.

        Raises:
            ServiceError: Every item of the batch is answered with it.
            Exception: One of the items may be to blame, so each is tried again by itself.
        """


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How batches are formed, and how much may wait."""

    max_batch: int
    max_items: int
    """That wait or are on their way to waiting."""
    delay_s: float = 0.0
    """How long a free device waits, at most, for items that are known to be coming."""


@dataclass(frozen=True, kw_only=True)
class Answered(Generic[ResultT]):
    """An item's result, and how it came about."""

    result: ResultT
    queue_s: float
    predict_s: float
    batch_size: int


@dataclass(eq=False, kw_only=True, slots=True)
class _Entry(Generic[ItemT, ResultT]):
    item: ItemT
    ticket: Ticket
    joined_s: float
    future: asyncio.Future[Answered[ResultT]]
    waiting: bool = True

    def fail(self, error: ServiceError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(eq=False, kw_only=True, slots=True)
class Place(Generic[ItemT, ResultT]):
    """A place that was given to an item, perhaps before the item itself is there."""

    batcher: "Batcher[ItemT, ResultT]"
    ticket: Ticket
    coming: bool = True
    """Whether the item is still on its way."""

    async def submit(self, item: ItemT) -> Answered[ResultT]:
        """Wait for the item's result.

        Raises:
            ServiceError: There is none; the class says why.
        """
        return await self.batcher.answer(self, item)


class Batcher(Generic[ItemT, ResultT]):
    """One queue for all devices that can do the same work.

    Use it as ``async with``: leaving answers what was accepted, and refuses what comes meanwhile. Leaving by
    an exception answers nothing more.

    Args:
        devices: Each gets a batch whenever it is free.
        options: How.
        cost: Predicts how long batches take, and is told how long they took.
        clock: Measures them.
        on_batch: Told of each batch that was answered: its size and its seconds.
        kind: Says of an item with which others it may be batched: those of its kind.
        weight: Says how much work an item is, where 1 is the usual one that costs are known of.
    """

    def __init__(
        self,
        devices: Sequence[Device[ItemT, ResultT]],
        options: BatchOptions,
        cost: Cost,
        clock: Clock,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
        kind: Callable[[ItemT], Hashable] = lambda item: None,
        weight: Callable[[ItemT], float] = lambda item: 1.0,
    ) -> None:
        self.options = options
        self._devices = devices
        self.cost = cost
        self.trust = Cost({1e-9: 1e-9})  # whatever is predicted
        self._clock = clock
        self._on_batch, self._kind, self._weight = on_batch, kind, weight
        self._queue: list[_Entry[ItemT, ResultT]] = []
        self._running: dict[int, tuple[float, list[_Entry[ItemT, ResultT]]]] = {}
        self._places = 0
        self._coming = 0
        self._closing = False
        self._abandoned = False
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._serve(*pair)) for pair in enumerate(self._devices)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        try:
            while self._places and error is None:
                await self._wait_for_news()
        finally:
            self.abandon()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Refuse everything, and answer at once, with `NotReady`, what has not been answered."""
        self._closing = self._abandoned = True
        for task in self._tasks:
            task.cancel()
        for entry in [*self._queue, *(entry for _, batch in self._running.values() for entry in batch)]:
            entry.fail(NotReady("the service is stopping"))

    @property
    def waiting(self) -> int:
        """How many items wait, or are on their way to waiting."""
        return self._coming + len(self._queue)

    @property
    def max_batch(self) -> int:
        """The largest batch."""
        return self.options.max_batch

    @property
    def max_items(self) -> int:
        """How many items may wait, or be on their way to waiting."""
        return self.options.max_items

    @property
    def devices(self) -> int:
        """How many batches run side by side."""
        return len(self._devices)

    def free_in_s(self) -> float:
        """Return how long it takes until a device is free."""
        if len(self._running) < len(self._devices):
            return 0.0
        ends_s = min(
            began_s + self.cost.estimate_s(self._amount(batch)) for began_s, batch in self._running.values()
        )
        return max(0.0, ends_s - self._clock.now())

    @contextmanager
    def place(self, ticket: Ticket) -> Iterator[Place[ItemT, ResultT]]:
        """Hold a place for a request's item; leaving gives it back, whatever became of the item.

        Raises:
            NotReady: Closing.
        """
        if self._closing:
            raise NotReady("this model is being put away")
        place = Place(batcher=self, ticket=ticket)
        self._places += 1
        self._coming += 1
        try:
            yield place
        finally:
            self._places -= 1
            self._arrive(place)

    async def answer(self, place: Place[ItemT, ResultT], item: ItemT) -> Answered[ResultT]:
        """Queue the item of a place and wait for its result; see `Place.submit`."""
        if self._abandoned:
            raise NotReady("the service is stopping")
        entry: _Entry[ItemT, ResultT] = _Entry(
            item=item,
            ticket=place.ticket,
            joined_s=self._clock.now(),
            future=asyncio.get_running_loop().create_future(),
        )
        self._queue.append(entry)
        self._arrive(place)
        try:
            return await entry.future
        finally:
            if entry.waiting:
                self._queue.remove(entry)
            if entry.future.done() and not entry.future.cancelled():
                entry.future.exception()  # the caller may have been cancelled in the same turn of the loop

    def _arrive(self, place: Place[ItemT, ResultT]) -> None:
        if place.coming:
            place.coming = False
            self._coming -= 1
        self._news.set()

    async def _wait_for_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _serve(self, number: int, device: Device[ItemT, ResultT]) -> None:
        while True:
            while not self._queue:
                await self._wait_for_news()
            if self.options.delay_s:
                await self._wait_for_company()
            await device.available()  # last, for it may have been lost while nothing was there to do
            if batch := self._take():
                try:
                    await self._run(number, device, batch)
                finally:
                    self._running.pop(number, None)
                    for entry in batch:  # only a loop that was cancelled leaves any unanswered
                        entry.fail(NotReady("the service is stopping"))

    async def _wait_for_company(self) -> None:
        until_s = self._clock.now() + self.options.delay_s
        timer = self._clock.call_at(until_s, self._news.set)
        while self._coming and len(self._queue) < self.options.max_batch and self._clock.now() < until_s:
            await self._wait_for_news()
        timer.cancel()

    def _amount(self, batch: Sequence[_Entry[ItemT, ResultT]]) -> float:
        return sum(self._weight(entry.item) for entry in batch)

    def _take(self) -> list[_Entry[ItemT, ResultT]]:
        """Take the first entry that somebody still waits for, and the first others of its kind."""
        self._queue.sort(key=lambda entry: entry.ticket.order)  # which may have changed since they came
        if not self._queue:
            return []
        kind = self._kind(self._queue[0].item)
        alike = (entry for entry in self._queue if self._kind(entry.item) == kind)
        taken = list(islice(alike, self.options.max_batch))
        gone = set(map(id, taken))
        self._queue[:] = [entry for entry in self._queue if id(entry) not in gone]
        for entry in taken:
            entry.waiting = False
            entry.ticket.begin_batch()
        return [entry for entry in taken if not entry.future.done()]

    async def _run(
        self, number: int, device: Device[ItemT, ResultT], batch: list[_Entry[ItemT, ResultT]]
    ) -> None:
        began_s = self._clock.now()
        self._running[number] = (began_s, batch)
        try:
            results = await device.predict([entry.item for entry in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"the device answered {len(results)} results to {len(batch)} items")
        except ServiceError as error:
            for entry in batch:
                entry.fail(error)
        except Exception as error:  # whatever a device throws, its items are answered and its loop lives on
            await self._blame(number, device, batch, error)
        else:
            seconds = self._clock.now() - began_s
            self.cost.record(self._amount(batch), seconds)
            for entry, result in zip(batch, results, strict=True):
                if not entry.future.done():
                    queue_s = began_s - entry.joined_s
                    answered = Answered(
                        result=result, queue_s=queue_s, predict_s=seconds, batch_size=len(batch)
                    )
                    entry.future.set_result(answered)
            self._on_batch(len(batch), seconds)

    async def _blame(
        self,
        number: int,
        device: Device[ItemT, ResultT],
        batch: list[_Entry[ItemT, ResultT]],
        error: Exception,
    ) -> None:
        """Find the item that makes a batch fail: try each by itself."""
        if len(batch) == 1:
            logger.error("an image failed by itself", exc_info=error)
            batch[0].fail(InferenceFailed("the network failed on this image"))
            return
        logger.warning("a batch of %s failed; trying its images one by one", len(batch), exc_info=error)
        for entry in batch:
            await device.available()
            if not entry.future.done():
                await self._run(number, device, [entry])
