"""Which requests are accepted, and in which order they go: nothing is accepted that cannot be done in time.

Every accepted request holds a ticket with all the work that it still brings, so a new request is told of all
that goes before it. Codec threads and devices work side by side: it waits for the busier of them. To accept
is to promise: a new request whose turn comes first passes others only as far as these can bear it.
"""

import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from service.contract.errors import DeadlineExceeded, Overloaded
from service.scheduling.clock import Clock
from service.scheduling.cost import Cost
from service.scheduling.turns import Order, Places, Turn, Turns

_PRIOR_S = {0.0: 0.0005, 1.0: 0.015}
"""Seconds of a codec job by megapixels, before any was measured: between a JPEG's decoding and a PNG's."""


class Job(NamedTuple):
    """Work for one codec thread."""

    cost: Cost
    megapixels: float
    seconds: float
    """That it was expected to take when its request was accepted."""


class DeviceQueue(Protocol):
    """The queue for a model's devices, as admission needs to know it."""

    cost: Cost
    """Of a batch, by its size."""
    trust: Cost
    """Of a whole request, by its prediction: how far predictions come true."""

    @property
    def max_batch(self) -> int:
        """The largest batch."""

    @property
    def max_items(self) -> int:
        """How many items may wait, or be on their way to waiting."""

    @property
    def devices(self) -> int:
        """How many batches run side by side."""

    @property
    def waiting(self) -> int:
        """How many items wait, or are on their way to waiting."""

    def free_in_s(self) -> float:
        """Return how long it takes until a device is free."""


class Ticket:
    """What an accepted request still brings, and its turn among the others."""

    def __init__(
        self, turns: Turns, turn: Turn, queue: DeviceQueue, jobs: Iterable[Job], deadline_s: float
    ) -> None:
        self._turns, self.turn = turns, turn
        self.queue = queue
        self.jobs = deque(jobs)
        """For codec threads, in their order; those that are done are gone."""
        self.codec_s = sum(job.seconds for job in self.jobs)
        """Of the jobs that are not done."""
        self.longest_s = max((job.seconds for job in self.jobs), default=0.0)
        """Of the jobs."""
        self.deadline_s = deadline_s
        self.alone = False
        """Whether nothing went before it when it came."""

    @property
    def order(self) -> Order:
        """Lower goes first, in every queue."""
        return self.turn.order

    @property
    def batched(self) -> bool:
        """Whether its batch has begun."""
        return self.turn.begun

    def begin_batch(self) -> None:
        """Say that a device has taken the request's item."""
        self._turns.begin(self.turn)

    def end_job(self) -> None:
        """Say that the first of the jobs is done, or will not be."""
        self.codec_s -= self.jobs.popleft().seconds


class Admission:
    """Accepts requests, or refuses them at once with the time after which another try makes sense.

    Args:
        threads: How many codec threads there are.
        clock: Tells deadlines.
    """

    def __init__(self, threads: int, clock: Clock) -> None:
        self._threads, self._clock = threads, clock
        self._codec: dict[str, Cost] = {}
        self._turns = Turns()
        self._open: list[Ticket] = []
        self._compared: set[DeviceQueue] = set()

    @contextmanager
    def admit(
        self,
        queue: DeviceQueue,
        jobs: Iterable[tuple[str, float]] = (),
        *,
        caller: str = "",
        stream: str = "",
        priority: int = 0,
        deadline_s: float = math.inf,
    ) -> Iterator[Ticket]:
        """Accept a request for as long as the ``with`` lasts.

        Args:
            queue: Of the model that is asked.
            jobs: The kind and the megapixels of each codec job, in their order; those of one kind cost alike.
            caller: Whoever can be told apart; callers share by weighted turns.
            stream: One of the caller's streams, which share what the caller gets.
            priority: Each step up doubles the share.
            deadline_s: The instant of the clock by which the request has to be done.

        Raises:
            Overloaded: Too many wait, or the deadline cannot be met; `retry_after_s` says when it could.
        """
        known = [(self._codec.setdefault(kind, Cost(_PRIOR_S)), amount) for kind, amount in jobs]
        own = [Job(cost, amount, cost.estimate_s(amount)) for cost, amount in known]
        cost_s, usual_s = (
            max(
                sum(job_s(cost, amount) for cost, amount in known) / self._threads,
                job_s(queue.cost, queue.max_batch) / queue.max_batch / queue.devices,
            )
            for job_s in (Cost.estimate_s, Cost.usual_s)
        )
        turn = self._turns.ask(caller, stream, priority, cost_s, usual_s, self._clock.now())
        ticket = Ticket(self._turns, turn, queue, own, deadline_s)
        expected_s = self._check(ticket)
        self._turns.enter(turn)
        try:
            with self._learning(ticket, expected_s):
                yield ticket
        finally:
            self._open.remove(ticket)
            self._turns.leave(turn, self._clock.now())

    def _check(self, ticket: Ticket) -> float:
        """Give a request its place and return how long it will take; refuse it if that is too long."""
        self._check_room(ticket)
        places = self._turns.places(ticket.turn)
        try:
            order = self._placed(ticket, places)
            expected_s = self._check_deadline(ticket, order)
            while harmed := self._harmed(ticket, order):
                self._turns.put_back(places)
                ticket.turn.move(math.nextafter(harmed[-1].turn.start, math.inf))
                order = self._placed(ticket, places[:0])
                expected_s = self._check_deadline(ticket, order)
        except Overloaded:
            self._turns.put_back(places)
            raise
        self._open = order
        return expected_s

    def _check_room(self, ticket: Ticket) -> None:
        queue, caller = ticket.queue, ticket.turn.caller
        full_s = queue.cost.estimate_s(queue.max_batch) / queue.max_batch / queue.devices
        cleared_s = queue.free_in_s() + queue.waiting * full_s
        if queue.waiting >= queue.max_items:
            raise Overloaded(f"{queue.waiting} images are waiting already", retry_after_s=cleared_s)
        if 2 * queue.waiting < queue.max_items:
            return  # as long as half is free, nobody needs to be held back
        share = max(1, round(queue.max_items * self._turns.share(caller, self._clock.now())))
        its = sum(other.queue is queue and other.turn.caller == caller for other in self._open)
        if its >= share:
            raise Overloaded(
                f"{its} images of this caller are under way already; its share is {share}",
                retry_after_s=cleared_s,
            )

    def _placed(self, ticket: Ticket, places: Places) -> list[Ticket]:
        """Return the order with a new ticket in it."""
        self._turns.take(places)
        order = [*self._open]
        if len(places) > 1:
            order.sort(key=_order)
        insort(order, ticket, key=_order)
        return order

    def _check_deadline(self, ticket: Ticket, order: Sequence[Ticket]) -> float:
        """Return how long a request will take in its place."""
        now_s = self._clock.now()
        ahead = _Ahead(order[: bisect_left(order, ticket.order, key=_order)], self._threads)
        wait_s, own_s = ahead.times(ticket)
        expected_s = self._turns.expected_s(ticket.turn, wait_s + own_s, now_s)
        late_s = now_s + self._within_s(ticket, expected_s, self._job_s()) - ticket.deadline_s
        ticket.alone = wait_s == 0
        if not ticket.alone and late_s > 0:  # alone, it is worth a try: costs are learned by trying
            raise Overloaded(
                f"the wait is {wait_s:.2f} s, and the deadline might pass by {late_s:.2f} s",
                retry_after_s=late_s,
            )
        return expected_s

    def _job_s(self) -> float:
        """Return how long a job may have to wait for others that have begun: until one thread is free."""
        longest_s = sorted((ticket.longest_s for ticket in self._open), reverse=True)
        return longest_s[self._threads - 1] if len(longest_s) >= self._threads else 0.0

    def _within_s(self, ticket: Ticket, expected_s: float, job_s: float) -> float:
        """Return the time within which a request is done for sure; nothing that has begun is interrupted."""
        queue = ticket.queue
        batch_s = queue.cost.estimate_s(min(queue.waiting + 1, queue.max_batch)) if self._open else 0.0
        return max(queue.trust.within_s(expected_s), expected_s + batch_s + len(ticket.jobs) * job_s)

    def _harmed(self, new: Ticket, order: Sequence[Ticket]) -> list[Ticket]:
        """Return those behind a new ticket that might miss their deadlines there."""
        now_s = self._clock.now()
        place = bisect_left(order, new.order, key=_order) + 1
        ahead, harmed, job_s = _Ahead(order[:place], self._threads), [], self._job_s()
        for ticket in order[place:]:
            wait_s, own_s = ahead.times(ticket)
            within_s = self._within_s(ticket, wait_s + own_s, job_s)
            if now_s + own_s <= ticket.deadline_s < now_s + within_s:
                harmed.append(ticket)
            ahead.add(ticket)
        return harmed

    @contextmanager
    def _learning(self, ticket: Ticket, predicted_s: float) -> Iterator[None]:
        """Compare a prediction with how long the body of the ``with`` takes to answer, or to be too late.

        One at a time: requests in the same queue share the same luck, and the deviation would be taken for
        none. A request that waits for nothing tells only of its own jobs.
        """
        queue = ticket.queue
        if ticket.alone or queue in self._compared:
            yield
            return
        self._compared.add(queue)
        began_s = self._clock.now()
        try:
            yield
        except DeadlineExceeded:
            # How late it would have been is not known; only that the prediction was short by this at least.
            if (seconds := self._clock.now() - began_s) > predicted_s:
                queue.trust.record(predicted_s, seconds)
            raise
        else:
            queue.trust.record(predicted_s, self._clock.now() - began_s)
        finally:
            self._compared.discard(queue)


class _Ahead:
    """The work that goes before a request."""

    def __init__(self, tickets: Sequence[Ticket], threads: int) -> None:
        self._threads = threads
        self._codec_s = sum(ticket.codec_s for ticket in tickets)
        self._items = Counter(ticket.queue for ticket in tickets if not ticket.batched)
        self._known: dict[DeviceQueue, tuple[float, float]] = {}

    def times(self, ticket: Ticket) -> tuple[float, float]:
        """Return how long a request that comes next will wait, and how long it takes itself."""
        queue, wait_s, own_s = ticket.queue, self._codec_s / self._threads, ticket.codec_s
        if not ticket.batched:
            if queue not in self._known:
                self._known[queue] = queue.free_in_s(), queue.cost.estimate_s(queue.max_batch)
            free_s, full_s = self._known[queue]
            batches, beside = divmod(self._items[queue], queue.max_batch)
            wait_s = max(wait_s, free_s + batches * full_s / queue.devices)
            # A device takes everything that waits: a request that is not alone shares its batch.
            own_s += full_s if batches else queue.cost.estimate_s(beside + 1)
        return wait_s, own_s

    def add(self, ticket: Ticket) -> None:
        """Let a request go before the next."""
        self._codec_s += ticket.codec_s
        self._items[ticket.queue] += not ticket.batched


def _order(ticket: Ticket) -> Order:
    return ticket.turn.order
