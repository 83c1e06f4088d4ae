"""The event loop's time for parsing, shared among connections: a little in each of its rounds, in turns.

Bytes that cost a sender nothing can cost a parser much: headers, pings or chunks of one byte. So all
connections together parse for a few milliseconds, then everything else has its turn.
"""

import asyncio
import time
from typing import Protocol

_MOST_S = 0.005


class Stepping(Protocol):
    """Something that can be done step by step."""

    def step(self) -> bool:
        """Do a little; return whether there is more that can be done now."""


class Turns:
    """Lets connections step one after the other.

    Args:
        loop: Whose rounds are counted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Stepping, None] = {}  # in order
        self._running = False
        self._spent_s = 0.0
        self._next_round: asyncio.Handle | None = None

    def add(self, stepping: Stepping) -> None:
        """Let it step until there is nothing more to do: now where there is time, else in the next rounds."""
        self._waiting[stepping] = None
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running = True
        try:
            while self._waiting and self._spent_s < _MOST_S:
                began_s = time.perf_counter()
                stepping = next(iter(self._waiting))
                del self._waiting[stepping]
                if stepping.step():
                    self._waiting[stepping] = None
                self._spent_s += time.perf_counter() - began_s
        finally:
            self._running = False
        if self._next_round is None:
            self._next_round = self._loop.call_soon(self._begin_round)

    def _begin_round(self) -> None:
        self._next_round = None
        self._spent_s = 0.0
        if self._waiting:
            self._run()
