"""What all doors share: the engine behind them, who may enter, what there may be at once, and the closing.

It does not know HTTP or gRPC.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from service.answer import DepthAnswer
from service.auth import Keyring, current_caller
from service.budget import ByteBudget, Share
from service.engine import Adjust, Engine
from service.errors import InvalidArgument
from service.logs import current_request_id
from service.metrics import Metrics
from service.request import DepthRequest
from service.settings import Settings
from service.streaming import Frame, OpenStreams, StreamOptions
from service.tracing import Tracing

TOO_MANY_BYTES = "too_many_bytes"
"""Why a body is refused for which there is no room. Its sender is told `overloaded`, as of a full queue."""
TOO_MANY_ANSWERS = "too_many_answers"
TOO_MANY_STREAMS = "too_many_streams"
"""Likewise, of an answer and of a stream."""


class Calls:
    """Counts what is being answered, for those who wait until nothing is."""

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


class Doors:
    """The one record that every door is made from.

    Args:
        engine: Answers everything.
        settings: Limits and times.
        metrics: What ``/metrics`` shows.
        keyring: Who may enter; everybody where None.
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
            on_refusal=partial(self.count_refusal, reason=TOO_MANY_BYTES),
        )
        self.answers = ByteBudget(
            settings.max_answers_bytes,
            "depth waits to be read by those who asked for it",
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
        self.closing = False
        """Whether the house is closing: what was taken is answered, and nobody should send more."""

    def count_refusal(self, door: str, reason: str) -> None:
        """Count a request that never came as far as the engine, which counts for itself.

        Args:
            door: Which door refused it.
            reason: The error's code, or what hides behind it: one of a few fixed words.
        """
        self.metrics.requests_rejected.labels(door, reason).inc()

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.engine.ready and not self.closing

    def deadline_s(self, remaining_s: float | None) -> float:
        """Turn what is left of a caller's patience into an instant of ``time.monotonic``.

        Args:
            remaining_s: None where the caller has no deadline; ours bounds his in any case.
        """
        bound_s = self.settings.request_timeout_s
        if remaining_s is None:
            return time.monotonic() + bound_s
        if not remaining_s > 0:
            raise InvalidArgument(f"the time left is {remaining_s:g} s; expected more than 0")
        return time.monotonic() + min(remaining_s, bound_s)

    async def answer(self, request: DepthRequest, held: Share) -> DepthAnswer:
        """Answer a request, and count the answer's bytes among those that are held.

        Raises:
            ServiceError: There is no answer, or no room for it; the class says why.
        """
        answer = await self.engine.depth(request)
        held.take(len(answer.body))
        return answer

    def frame_answerer(
        self, *, door: str, options: Mapping[str, Any], timeout_s: float | None
    ) -> Callable[[Frame, Adjust | None], Awaitable[DepthAnswer]]:
        """Answer what a stream answers its frames with.

        Args:
            door: Through which the stream came.
            options: Fields of each frame's DepthRequest.
            timeout_s: How long a frame may take; None where only our own bound counts.
        """
        caller = current_caller.get()
        stream_id = current_request_id.get() or ""
        # Made once, so that options which do not fit each other are refused when the stream opens.
        wanted = DepthRequest(image=b"", door=door, **options)
        self.deadline_s(timeout_s)

        async def answer(frame: Frame, adjust: Adjust | None) -> DepthAnswer:
            deadline_s = self.deadline_s(timeout_s)
            caller.charge(1)
            with self.budget.share(door) as share:
                share.take(len(frame.image))
                request = replace(
                    wanted,
                    image=frame.image,
                    deadline_s=deadline_s,
                    request_id=f"{stream_id}/{frame.id}",
                )
                return await self.engine.depth(request, adjust)

        return answer

    def stream_options(self, *, latest: bool, smoothing: float, max_in_flight: int | None) -> StreamOptions:
        """Bound what a caller asks of a stream by what there is."""
        if not 0 <= smoothing < 1:
            raise InvalidArgument(f"scale smoothing is {smoothing:g}; expected at least 0 and less than 1")
        if max_in_flight is not None and max_in_flight < 0:
            raise InvalidArgument(
                f"max in flight is {max_in_flight}; expected at least 1, or 0 for our bound"
            )
        bound = self.settings.max_stream_frames
        if latest:
            # One frame in the network and one before it keep the device busy; more would only grow old.
            bound = min(bound, 2)
        return StreamOptions(
            latest=latest,
            max_in_flight=min(max_in_flight or bound, bound),
            smoothing=smoothing,
            idle_timeout_s=self.settings.stream_idle_timeout_s,
        )
