"""What all transports share: the engine behind them, the keys, the limits, and the state of closing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

from service.contract.answer import DepthAnswer
from service.contract.errors import InvalidArgument
from service.contract.options import LiveOptions
from service.contract.request import DepthRequest
from service.engine import Engine, Turn
from service.scheduling.budget import ByteBudget, Share
from service.settings import Settings
from service.telemetry.logs import current_request_id
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing
from service.transports.auth import Keyring, current_caller, holder
from service.transports.shared_memory import Regions
from service.transports.streaming import Frame, FrameStream, OpenStreams, StreamOptions, StreamShares

current_bodies: ContextVar[Share] = ContextVar("current_bodies")
current_answers: ContextVar[Share] = ContextVar("current_answers")
"""Of the gRPC call that is being answered: where what it brings, and what it is answered with, is counted."""
current_message_bytes: ContextVar[int] = ContextVar("current_message_bytes", default=0)
"""What was taken of `current_bodies` for the message of a stream that was read last."""
TOO_MANY_BYTES = "too_many_bytes"
"""Why a body is refused for which there is no room. Its sender is told `overloaded`, as of a full queue."""
TOO_MANY_ANSWERS = "too_many_answers"
TOO_MANY_STREAMS = "too_many_streams"
"""Likewise, of an answer and of a stream."""


class Calls:
    """Counts running requests, so that closing can wait until none is left."""

    def __init__(self) -> None:
        self._running = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """Count one more."""
        self._running += 1
        self._none.clear()

    def end(self) -> None:
        """Count one less."""
        self._running -= 1
        if self._running == 0:
            self._none.set()

    async def wait_until_none(self) -> None:
        """Wait until as many have ended as began."""
        await self._none.wait()


class Frontend:
    """The one record that every transport is made from.

    Args:
        engine: Answers everything.
        settings: Limits and times.
        metrics: What ``/metrics`` shows.
        keyring: The keys that are accepted; None: no key is needed.
        tracing: Opens spans; records none where None.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        metrics: Metrics,
        *,
        keyring: Keyring | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.engine = engine
        self.clock = engine.clock
        self.settings = settings
        self.metrics = metrics
        self.keyring = keyring or Keyring()
        self.tracing = tracing or Tracing()
        self.streams = OpenStreams(
            settings.max_streams, on_refusal=partial(self.count_refusal, reason=TOO_MANY_STREAMS)
        )
        self.budget = ByteBudget(
            settings.max_bodies_bytes,
            "is being uploaded",
            setting="DEPTH_MAX_BODIES_BYTES",
            on_refusal=partial(self.count_refusal, reason=TOO_MANY_BYTES),
        )
        self.answers = ByteBudget(
            settings.max_answers_bytes,
            "depth waits to be read by those who asked for it",
            setting="DEPTH_MAX_ANSWERS_BYTES",
            on_refusal=partial(self.count_refusal, reason=TOO_MANY_ANSWERS),
        )
        metrics.open_streams.set_function(lambda: len(self.streams))
        metrics.open_streams_limit.set(settings.max_streams)
        metrics.held_body_bytes.set_function(lambda: self.budget.held_bytes)
        metrics.held_body_limit_bytes.set(settings.max_bodies_bytes)
        metrics.held_answer_bytes.set_function(lambda: self.answers.held_bytes)
        metrics.held_answer_limit_bytes.set(settings.max_answers_bytes)
        metrics.ready.set_function(lambda: self.ready)
        self.calls = Calls()
        self.regions = Regions(settings.shared_memory_prefix)
        self.closing = False
        """Whether the service is closing: accepted requests are completed, and no more should be sent."""

    def count_refusal(self, transport: str, reason: str) -> None:
        """Count a request that never came as far as the engine, which counts for itself.

        Args:
            transport: Which transport refused it.
            reason: The error's code, or what hides behind it: one of a few fixed words.
        """
        self.metrics.requests_rejected.labels(transport, reason).inc()

    def body_share(self, transport: str) -> AbstractContextManager[Share]:
        """Open the account of what the current request brings; all of it is given back at the end."""
        return self.budget.share(transport, holder())

    def answer_share(self, transport: str) -> AbstractContextManager[Share]:
        """Likewise, of what it is answered with."""
        return self.answers.share(transport, holder())

    @contextmanager
    def counting_call(self, transport: str) -> Iterator[None]:
        """Open both for a gRPC call, as `current_bodies` and `current_answers`."""
        with self.body_share(transport) as bodies, self.answer_share(transport) as answers:
            current_bodies.set(bodies)
            current_answers.set(answers)
            yield

    @property
    def holds_bytes(self) -> bool:
        """Whether any request or answer is held."""
        return bool(self.budget.held_bytes or self.answers.held_bytes)

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.engine.ready and not self.closing

    def deadline_s(self, remaining_s: float | None) -> float:
        """Return the instant of the service's clock at which a request's time is over.

        Args:
            remaining_s: None where the caller has no deadline; `request_timeout_s` bounds it in any case.
        """
        bound_s = self.settings.request_timeout_s
        if remaining_s is None:
            return self.clock.now() + bound_s
        if not remaining_s > 0:
            raise InvalidArgument(f"the time left is {remaining_s:g} s; expected more than 0")
        return self.clock.now() + min(remaining_s, bound_s)

    async def answer(self, request: DepthRequest, held: Share) -> DepthAnswer:
        """Handle a request, and count the answer's bytes among those that are held.

        Raises:
            ServiceError: There is no answer, or no room for it; the class says why.
        """
        answer = await self._depth(request)
        held.take(len(answer.body))
        return answer

    def frame_stream(
        self,
        frames: AsyncIterator[Frame],
        options: LiveOptions,
        shares: StreamShares[DepthAnswer],
        *,
        transport: str,
    ) -> FrameStream[DepthAnswer]:
        """Return what answers the frames of a stream.

        Args:
            frames: As they come.
            options: What the stream's caller asks for, which is bounded by what there is.
            shares: Where the bytes that the stream holds are counted.
            transport: Through which the stream came.

        Raises:
            InvalidArgument: The options do not fit each other.
        """
        timeout_s = None if options.frame_timeout_ms is None else options.frame_timeout_ms / 1e3
        return FrameStream(
            frames,
            self._frame_handler(transport=transport, options=options.request_fields(), timeout_s=timeout_s),
            self.stream_options(options),
            shares,
        )

    def stream_options(self, options: LiveOptions) -> StreamOptions:
        """Bound what a caller asks of a stream by what there is."""
        bound = self.settings.max_stream_frames
        latest = options.mode == "latest"
        if latest:
            # One frame in the network and one before it keep the device busy; more would only grow old.
            bound = min(bound, 2)
        return StreamOptions(
            latest=latest,
            max_in_flight=min(options.max_in_flight or bound, bound),
            steadiness=options.steadiness,
            idle_timeout_s=self.settings.stream_idle_timeout_s,
        )

    def _frame_handler(
        self, *, transport: str, options: Mapping[str, Any], timeout_s: float | None
    ) -> Callable[[Frame, Turn | None], Awaitable[DepthAnswer]]:
        caller = current_caller.get()
        stream_id = current_request_id.get() or ""
        # Made once, so that options which do not fit each other are refused when the stream opens.
        wanted = DepthRequest(image=b"", transport=transport, **options)
        self.deadline_s(timeout_s)

        async def answer(frame: Frame, turn: Turn | None) -> DepthAnswer:
            deadline_s = self.deadline_s(timeout_s)
            caller.charge(1)
            request = replace(
                wanted,
                image=frame.image,
                deadline_s=deadline_s,
                request_id=f"{stream_id}/{frame.id}",
                **frame.wanted,
            )
            return await self._depth(request, turn, stream=stream_id)

        return answer

    async def _depth(
        self, request: DepthRequest, turn: Turn | None = None, *, stream: str = ""
    ) -> DepthAnswer:
        """Ask the engine in the current caller's name, with the priority that is wanted or else granted."""
        granted = min(request.priority, current_caller.get().priority)
        return await self.engine.depth(
            replace(request, caller=holder(), stream=stream, priority=granted), turn
        )
