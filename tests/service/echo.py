"""An engine that returns at once what it was sent, so that a test can tell what a transport passed on."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from service.contract.answer import DepthAnswer, ModelInfo, ModelStatistics, NotServed
from service.contract.request import DepthRequest, Intrinsics
from service.engine import Turn
from service.scheduling.clock import Clock, MonotonicClock

MODEL = ModelInfo(
    name="echo",
    version="1",
    state="ready",
    default=True,
    current=True,
    unit="metre",
    height=192,
    width=640,
    min_depth=0.1,
    max_depth=100.0,
    backend="none",
    max_batch=8,
    statistics=ModelStatistics(),
)


class EchoEngine:
    """Answers an image with its own bytes, its format and its size; depth is 2 everywhere.

    Set ``error`` to have every request fail with it, or clear ``gate`` to hold answers back.
    """

    def __init__(self, *_: object) -> None:
        self.clock: Clock = MonotonicClock()
        self.ready = True
        self.live = True
        self.device_lost = False
        self.unloaded: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[DepthRequest] = []
        self.turns: list[Turn] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self.drained = False
        self.admin_calls: list[tuple[str, str | None]] = []
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[bool], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.drained = True

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        self.requests.append(request)
        self.in_flight += 1
        self._changed.set()
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            if turn is not None:
                await turn.before.wait()
                self.turns.append(turn)
                turn.done.set()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
            self._changed.set()
        return self.answer(request)

    def answer(self, request: DepthRequest) -> DepthAnswer:
        return DepthAnswer(
            body=bytes(request.image) + f"|{request.format}|{request.size}".encode(),
            media_type="application/octet-stream",
            format=request.format,
            height=375,
            width=1242,
            dtype="<u2",
            scale=1 / 256,
            unit="metre",
            scale_source="checkpoint",
            minimum=2.0,
            maximum=2.0,
            invalid="0",
            model="echo",
            model_version="1",
            request_id=request.request_id,
            timings={"decode": 0.001, "queue": 0.002, "predict": 0.003, "encode": 0.004, "total": 0.01},
            batch_size=1,
            intrinsics=request.lens if isinstance(request.lens, Intrinsics) else None,
        )

    async def until_in_flight(self, count: int) -> None:
        """Wait until exactly so many requests are being answered."""
        async with asyncio.timeout(30):
            while self.in_flight != count:
                self._changed.clear()
                await self._changed.wait()

    def models(self) -> list[ModelInfo]:
        return [MODEL]

    def not_served(self) -> list[NotServed]:
        return [NotServed(file="old.pth", reason="it is never opened")]

    def away(self) -> list[str]:
        return self.unloaded

    async def wait_ready(self) -> None:
        return

    def on_ready_change(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    def become(self, *, ready: bool) -> None:
        self.ready = ready
        for listener in self._listeners:
            listener(ready)

    async def reload(self, name: str | None = None) -> None:
        self.admin_calls.append(("reload", name))

    async def unload(self, name: str) -> None:
        self.admin_calls.append(("unload", name))

    async def drain(self, timeout_s: float) -> int:
        return 0
