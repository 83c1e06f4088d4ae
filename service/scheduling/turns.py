"""Whose turn it is: callers share by weighted turns, and each caller's streams share what it gets.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair Queuing", SIGCOMM 1996) on two levels: among
callers, and among the streams of each. A request's weight is 2 to the power of its priority, so no priority,
however high, leaves the others without a share.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

Order = tuple[float, int, int]
"""Lower goes first: the start in virtual time, then the negated priority, then who came first."""

_MEMORY_S = 5.0
"""For how long a caller's rate is remembered: what came so long ago counts for a third."""
_MOST_KNOWN = 1024
"""Of flows that are remembered; beyond these, those are forgotten that could start at once."""


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
    asked_at_s: float = 0.0

    def ask(self, turn: Turn, now_s: float) -> None:
        self._decay(now_s)
        self.asked_s += turn.cost_s
        self.asked_virtual += turn.virtual_s

    def rate(self, now_s: float) -> tuple[float, float]:
        """Return the share of the machine that it has asked for lately, and the same in virtual time."""
        self._decay(now_s)
        return self.asked_s / _MEMORY_S, self.asked_virtual / _MEMORY_S

    def asked_lately(self, now_s: float) -> bool:
        return now_s - self.asked_at_s < _MEMORY_S

    def _decay(self, now_s: float) -> None:
        left = math.exp((self.asked_at_s - now_s) / _MEMORY_S)
        self.asked_s, self.asked_virtual, self.asked_at_s = (
            self.asked_s * left,
            self.asked_virtual * left,
            now_s,
        )


class _Level:
    """Fair queueing among the flows of one level."""

    def __init__(self) -> None:
        self.now = 0.0
        """The virtual time: where the turn started that began last."""
        self.flows: dict[object, _Flow] = {}
        self.most_known = _MOST_KNOWN

    def flow(self, name: object) -> _Flow:
        return self.flows.setdefault(name, _Flow())

    def start(self, name: object) -> float:
        return max(self.now, self.flow(name).ends)

    def before(self, name: object, start: float, now_s: float) -> Iterator[tuple[float, float]]:
        """Yield of each other flow that may go before a start: its rate, and how long it can go on so."""
        for other, flow in self.flows.items():
            room = start - max(self.now, flow.ends)
            if room > 0 and other != name:
                rate, virtual_rate = flow.rate(now_s)
                if virtual_rate > 0:
                    yield rate, room / virtual_rate

    def forget(self, now_s: float) -> bool:
        if len(self.flows) <= self.most_known:
            return False
        self.flows = {
            name: flow
            for name, flow in self.flows.items()
            if flow.ends > self.now or flow.asked_lately(now_s)
        }
        self.most_known = max(_MOST_KNOWN, 2 * len(self.flows))
        return True


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
        turn = Turn(
            caller=caller,
            stream=stream,
            priority=priority,
            cost_s=cost_s,
            usual_s=usual_s,
            number=self._number,
        )
        within = self._within.setdefault(caller, _Level())
        self._callers.flow(caller).ask(turn, now_s)
        within.flow((stream, priority)).ask(turn, now_s)
        turn.move(self._callers.start(caller))
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
            *self._callers.before(turn.caller, turn.start, now_s),
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
        ends = self._callers.flow(turn.caller)
        ends.ends = self._callers.start(turn.caller) + turn.virtual_s
        flow = self._within[turn.caller].flow((turn.stream, turn.priority))
        flow.ends = turn.order_within[0] + turn.virtual_s
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
        if not turn.begun:
            self._stop_waiting(turn)
            if all(other.start < turn.start for other in self._waiting.get(turn.caller, ())):
                flow = self._callers.flow(turn.caller)
                flow.ends = min(flow.ends, turn.start)
        self._within[turn.caller].forget(now_s)
        if self._callers.forget(now_s):
            self._within = {
                name: level for name, level in self._within.items() if name in self._callers.flows
            }

    def _stop_waiting(self, turn: Turn) -> None:
        waiting = self._waiting[turn.caller]
        waiting.remove(turn)
        if not waiting:
            del self._waiting[turn.caller]


def _order_within(turn: Turn) -> Order:
    return turn.order_within
