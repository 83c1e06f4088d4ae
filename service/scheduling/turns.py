"""Whose turn it is: callers share by weighted turns, and each caller's streams share what it gets.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair Queuing", SIGCOMM 1996) on two levels: among
callers, and among the streams of each. A request's weight is 2 to the power of its priority, so no priority,
however high, leaves the others without a share.
"""

import math
import zlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

Order = tuple[float, int, int]
"""Lower goes first: the start in virtual time, then the negated priority, then who came first."""

_MEMORY_S = 5.0
"""For how long a caller's rate is remembered: what came so long ago counts for a third."""
_MOST_KNOWN = 256
"""Flows that are told apart on a level; a caller without a key is a connection, so anybody can make many."""
_SHARED = 64
"""Beyond these, new ones share so many flows by their hash (McKenney, "Stochastic Fairness Queueing", IEEE
INFOCOM 1990)."""


@dataclass(eq=False, kw_only=True, slots=True)
class Turn:
    """One request's turn."""

    caller: str
    stream: str
    priority: int
    cost_s: float
    """Of the busier of threads and devices, as things go now."""
    usual_s: float
    """Likewise, as they go on an idle machine: equal work counts alike, however busy it was meanwhile."""
    number: int
    start: float = field(init=False)
    """In the virtual time of all callers."""
    order: Order = field(init=False)
    """Where it stands among all."""
    order_within: Order = field(init=False)
    """Where it stands among its caller's."""
    begun: bool = False

    def move(self, start: float) -> None:
        """Give it another start."""
        self.start = start
        self.order = start, -self.priority, self.number

    @property
    def virtual_s(self) -> float:
        """How far it moves its caller on in virtual time."""
        return self.usual_s / 2.0**self.priority


Name = tuple[str, int]
"""Of a flow: a caller and 0, or a stream and its priority."""
Places = list[tuple[Turn, float, float]]
"""Turns with the starts that they have, and those that they get."""


@dataclass(eq=False, slots=True)
class _Flow:
    """What one caller, or one stream of a caller, has had and asks for."""

    ends: float = 0.0
    """Where its next turn starts in virtual time, unless that time is later already."""
    asked_s: float = 0.0
    """Decaying sums of what was asked for, accepted or not: seconds, and the same in virtual time."""
    asked_virtual: float = 0.0
    decayed_at_s: float = 0.0
    asked_at_s: float = 0.0
    under_way: int = 0
    """Turns that wait or have begun."""

    def ask(self, turn: Turn, now_s: float) -> None:
        self._decay(now_s)
        self.asked_at_s = now_s
        self.asked_s += turn.cost_s
        self.asked_virtual += turn.virtual_s

    def rate(self, now_s: float) -> tuple[float, float]:
        """Return the share of the machine that it has asked for lately, and the same in virtual time."""
        self._decay(now_s)
        return self.asked_s / _MEMORY_S, self.asked_virtual / _MEMORY_S

    def asked_lately(self, now_s: float) -> bool:
        return now_s - self.asked_at_s < _MEMORY_S

    def _decay(self, now_s: float) -> None:
        left = math.exp((self.decayed_at_s - now_s) / _MEMORY_S)
        self.asked_s, self.asked_virtual, self.decayed_at_s = (
            self.asked_s * left,
            self.asked_virtual * left,
            now_s,
        )


class _Level:
    """Fair queueing among the flows of one level."""

    def __init__(self) -> None:
        self.now = 0.0
        """The virtual time: where the turn started that began last."""
        self.flows: dict[Name, _Flow] = {}
        """Who asked last comes last."""

    def known_as(self, name: str, priority: int = 0) -> str:
        """Return a flow's name, or that of the one that it shares with others."""
        if (name, priority) in self.flows or len(self.flows) < _MOST_KNOWN:
            return name
        return f"\0{zlib.crc32(name.encode()) % _SHARED}"

    def ask(self, name: Name, turn: Turn, now_s: float) -> None:
        flow = self.flows.pop(name, None) or _Flow(decayed_at_s=now_s)
        self.flows[name] = flow
        flow.ask(turn, now_s)

    def start(self, name: Name) -> float:
        return max(self.now, self.flows[name].ends)

    def before(self, name: Name, start: float, now_s: float) -> Iterator[tuple[float, float]]:
        """Yield of each other flow that may go before a start: its rate, and how long it can go on so."""
        for other, flow in self.flows.items():
            room = start - max(self.now, flow.ends)
            if room > 0 and other != name:
                rate, virtual_rate = flow.rate(now_s)
                if virtual_rate > 0:
                    yield rate, room / virtual_rate

    def forget(self, now_s: float) -> list[Name]:
        """Forget who has nothing under way and has not asked lately; return their names."""
        forgotten = []
        while self.flows:
            name, flow = next(iter(self.flows.items()))
            if flow.asked_lately(now_s):
                break
            del self.flows[name]
            if flow.under_way:
                self.flows[name] = flow  # to be looked at again when it comes first once more
                break
            forgotten.append(name)
        return forgotten


class Turns:
    """The turns of all requests that wait."""

    def __init__(self) -> None:
        self._callers = _Level()
        self._within: dict[str, _Level] = {}
        self._waiting: dict[str, list[Turn]] = {}
        self._number = 0

    def ask(
        self, caller: str, stream: str, priority: int, cost_s: float, usual_s: float, now_s: float
    ) -> Turn:
        """Return the turn that a request would have, its caller's last; remember that it was asked for."""
        self._number += 1
        self._forget(now_s)
        caller = self._callers.known_as(caller)
        within = self._within.setdefault(caller, _Level())
        stream = within.known_as(stream, priority)
        turn = Turn(
            caller=caller,
            stream=stream,
            priority=priority,
            cost_s=cost_s,
            usual_s=usual_s,
            number=self._number,
        )
        self._callers.ask((caller, 0), turn, now_s)
        within.ask((stream, priority), turn, now_s)
        turn.move(self._callers.start((caller, 0)))
        turn.order_within = within.start((stream, priority)), -priority, self._number
        return turn

    def places(self, turn: Turn) -> Places:
        """Return the starts before and after a new turn has its place among its caller's; last is its own."""
        waiting = self._waiting.get(turn.caller, [])
        behind = waiting[bisect_left(waiting, turn.order_within, key=_order_within) :]
        if not behind:
            return [(turn, turn.start, turn.start)]
        starts = sorted([*(other.start for other in behind), turn.start])
        return [(other, other.start, start) for other, start in zip([turn, *behind], starts, strict=True)]

    def take(self, places: Places) -> None:
        """Give turns their new starts."""
        for turn, _, start in places:
            turn.move(start)

    def put_back(self, places: Places) -> None:
        """Give turns their starts back."""
        for turn, start, _ in places:
            turn.move(start)

    def share(self, caller: str, now_s: float) -> float:
        """Return a caller's part of what is shared among all that asked lately."""
        return 1 / max(1, sum(flow.asked_lately(now_s) for flow in self._callers.flows.values()))

    def expected_s(self, turn: Turn, seconds: float, now_s: float) -> float:
        """Return how long something takes, with all that will come meanwhile and go before a turn.

        Everybody is expected to ask as they did lately, as far as their share lets them go before.
        """
        within = self._within[turn.caller]
        before = [
            *self._callers.before((turn.caller, 0), turn.start, now_s),
            *within.before((turn.stream, turn.priority), turn.order_within[0], now_s),
        ]
        slope = sum(rate for rate, _ in before)
        for rate, most_s in sorted(before, key=lambda each: each[1]):
            if slope < 1 and seconds / (1 - slope) <= most_s:
                return seconds / (1 - slope)
            seconds += rate * most_s
            slope -= rate
        return seconds

    def enter(self, turn: Turn) -> None:
        """Let a turn wait; it moves its caller and its stream on."""
        caller, stream = self._flows(turn)
        caller.ends = max(self._callers.now, caller.ends) + turn.virtual_s
        stream.ends = turn.order_within[0] + turn.virtual_s
        caller.under_way += 1
        stream.under_way += 1
        insort(self._waiting.setdefault(turn.caller, []), turn, key=_order_within)

    def begin(self, turn: Turn) -> None:
        """Move virtual time on to a turn that begins."""
        if not turn.begun:
            turn.begun = True
            self._callers.now = max(self._callers.now, turn.start)
            within = self._within[turn.caller]
            within.now = max(within.now, turn.order_within[0])
            self._stop_waiting(turn)

    def leave(self, turn: Turn, now_s: float) -> None:
        """Let a request go; its caller gets back a turn that never began, if it was the last of its own."""
        caller, stream = self._flows(turn)
        if not turn.begun:
            self._stop_waiting(turn)
            if all(other.start < turn.start for other in self._waiting.get(turn.caller, ())):
                caller.ends = min(caller.ends, turn.start)
        caller.under_way -= 1
        stream.under_way -= 1
        self._within[turn.caller].forget(now_s)
        self._forget(now_s)

    @property
    def known(self) -> int:
        """How many callers are remembered."""
        return len(self._callers.flows)

    def _flows(self, turn: Turn) -> tuple[_Flow, _Flow]:
        """Return the flows of a turn that is under way or about to be."""
        within = self._within[turn.caller]
        return self._callers.flows[turn.caller, 0], within.flows[turn.stream, turn.priority]

    def _forget(self, now_s: float) -> None:
        for caller, _ in self._callers.forget(now_s):
            del self._within[caller]

    def _stop_waiting(self, turn: Turn) -> None:
        waiting = self._waiting[turn.caller]
        waiting.remove(turn)
        if not waiting:
            del self._waiting[turn.caller]


def _order_within(turn: Turn) -> Order:
    return turn.order_within
