"""The frames of one live video through the engine: bounded, in order, and the newest first where asked.

A transport hands it frames and writes what it yields.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from service.codec.steadiness import Steadier
from service.contract.errors import DeadlineExceeded, NotReady, Overloaded
from service.contract.pose import Pose
from service.engine import Turn
from service.scheduling.budget import Share

_RETRY_AFTER_S = 5.0
"""Nobody knows when a stream ends; this only keeps those who wait from asking all the time."""
AnswerT = TypeVar("AnswerT")
MessageT = TypeVar("MessageT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of a video, as its sender numbered it."""

    id: int
    image: bytes
    held_bytes: int = 0
    """Of its stream's share of bodies; given back when the frame is answered or skipped."""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its DepthRequest that differ from the stream's."""
    pose: Pose | None = None
    """Of the camera, where it is known."""


@dataclass(kw_only=True, slots=True)
class FrameAnswer(Generic[AnswerT]):
    """What became of a frame: an answer or an error."""

    frame_id: int
    skipped: int = 0
    """How many frames gave their place to this one."""
    answer: AnswerT | None = None
    error: Exception | None = None
    held_bytes: int = 0
    """Of its stream's share of answers; given back when the answer is sent."""


@dataclass(frozen=True, kw_only=True)
class StreamShares(Generic[AnswerT]):
    """What one stream holds in memory."""

    bodies: Share
    answers: Share
    size_of: Callable[[AnswerT], int]
    """How many bytes an answer has."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How one stream is answered."""

    latest: bool = False
    """Whether a frame that waits gives its place to a newer one."""
    max_in_flight: int = 4
    """How many frames are being answered, or wait to be sent, at once."""
    steadiness: float = 0.0
    """How firmly depth is held from frame to frame, from 0 (each by itself) to 1."""
    idle_timeout_s: float = 60.0
    """How long a stream may send nothing."""


class FrameStream(Generic[AnswerT]):
    """Answers frames in the order in which they came, at most so many at once.

    Use it as ``async with`` around an ``async for``; leaving cancels whatever is still being answered.

    Args:
        frames: Read only as fast as there is room, or as they come where only the latest counts.
        answer: Answers one frame, given its turn among them (None where each is by itself).
        options: How.
        shares: Where its bytes are counted. The reader of frames takes theirs.
    """

    def __init__(
        self,
        frames: AsyncIterable[Frame],
        answer: Callable[[Frame, Turn | None], Awaitable[AnswerT]],
        options: StreamOptions,
        shares: StreamShares[AnswerT],
    ) -> None:
        self._frames = frames
        self._shares = shares
        self._answer = answer
        self._options = options
        self._steadier = Steadier(options.steadiness) if options.steadiness else None
        self._free = options.max_in_flight
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: Frame | None = None
        self._skipped = 0
        self._last_turn = asyncio.Event()
        self._last_turn.set()
        self._order: deque[asyncio.Task[FrameAnswer[AnswerT]]] = deque()
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.drained = False
        """Whether the stream was told to take no more frames."""

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pending = [task for task in (self._reader, *self._order) if task is not None]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[FrameAnswer[AnswerT]]:
        if self._reader is None:
            raise RuntimeError("a FrameStream is read inside its `async with`")
        while True:
            while self._order:
                # Left in the queue while it is awaited and sent, so that __aexit__ and the bound see it.
                result = await self._order[0]
                yield result
                self._shares.answers.give(result.held_bytes)
                self._order.popleft()
                self._free += 1
                self._room.set()
                self._start_waiting()
            if self._reader.done():
                break
            self._news.clear()
            await self._news.wait()
        if not self._reader.cancelled():
            self._reader.result()

    def drain(self) -> None:
        """Take no more frames; answer those that are here, then end."""
        self.drained = True
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        frames = aiter(self._frames)
        while True:
            if not self._options.latest:
                await self._room.wait()
            try:
                async with asyncio.timeout(self._options.idle_timeout_s):
                    frame = await anext(frames)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no frame came for {self._options.idle_timeout_s:g} s; the stream is closed"
                ) from None
            if self._waiting is not None:
                self._skipped += 1
                self._shares.bodies.give(self._waiting.held_bytes)
            self._waiting = frame
            self._start_waiting()

    def _start_waiting(self) -> None:
        """Start the frame that waits, if there is one and there is room."""
        if self._waiting is None or self._free == 0:
            return
        result: FrameAnswer[AnswerT] = FrameAnswer(frame_id=self._waiting.id, skipped=self._skipped)
        before, self._last_turn = self._last_turn, asyncio.Event()
        self._order.append(asyncio.create_task(self._run(self._waiting, result, before, self._last_turn)))
        self._waiting = None
        self._skipped = 0
        self._free -= 1
        if self._free == 0:
            self._room.clear()
        self._news.set()

    async def _run(
        self, frame: Frame, result: FrameAnswer[AnswerT], before: asyncio.Event, done: asyncio.Event
    ) -> FrameAnswer[AnswerT]:
        turn = None
        if self._steadier is not None:
            turn = Turn(steadier=self._steadier, pose=frame.pose, before=before, done=done)
        try:
            answer = await self._answer(frame, turn)
            size = self._shares.size_of(answer)
            self._shares.answers.take(size)
            result.answer, result.held_bytes = answer, size
        except Exception as error:  # a transport's edge: a frame that fails must not end its stream
            result.error = error
            await before.wait()
        finally:
            self._shares.bodies.give(frame.held_bytes)
            done.set()
        return result


class OpenStreams:
    """Every stream that is open, at most so many of them.

    Args:
        limit: The bound, over all transports.
        on_refusal: Told, whenever there are as many already, of the transport through which another came.
    """

    def __init__(self, limit: int, on_refusal: Callable[[str], None] = lambda transport: None) -> None:
        self._limit = limit
        self._on_refusal = on_refusal
        self._opening: set[asyncio.Future[Any]] = set()
        self._streams: set[FrameStream[Any]] = set()
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._opening) + len(self._streams)

    async def opening(
        self, messages: AsyncIterator[MessageT], transport: str, timeout_s: float
    ) -> MessageT | None:
        """Wait for the message that a stream begins with; meanwhile it counts among the open ones.

        Args:
            messages: The stream's; where there is none, the answer is None.
            transport: Through which they come.
            timeout_s: How long the first may take.

        Raises:
            Overloaded: There are as many streams as there may be.
            NotReady: The service is closing.
            DeadlineExceeded: The message did not come.
        """
        self._check_room(transport)
        message = asyncio.ensure_future(anext(messages, None))
        self._opening.add(message)
        try:
            await asyncio.wait([message], timeout=timeout_s)
            if message.cancelled():
                raise NotReady("the server is closing", retry_after_s=1.0)
            if not message.done():
                raise DeadlineExceeded(f"the first message did not come for {timeout_s:g} s")
            return message.result()
        finally:
            self._opening.discard(message)
            message.cancel()

    @contextmanager
    def admit(self, stream: FrameStream[Any], transport: str) -> Iterator[None]:
        """Count a stream among the open ones for as long as the ``with`` lasts.

        Raises:
            Overloaded: There are as many as there may be.
            NotReady: The service is closing.
        """
        self._check_room(transport)
        self._streams.add(stream)
        self._empty.clear()
        try:
            yield
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._empty.set()

    async def drain(self) -> None:
        """Open no more, take no more frames, and wait until what was taken is answered."""
        self._closing = True
        for message in tuple(self._opening):
            message.cancel()
        for stream in tuple(self._streams):
            stream.drain()
        await self._empty.wait()

    def _check_room(self, transport: str) -> None:
        if self._closing:
            raise NotReady("the server is closing", retry_after_s=1.0)
        if len(self) >= self._limit:
            self._on_refusal(transport)
            raise Overloaded(
                f"{self._limit} streams are open, which is all there may be", retry_after_s=_RETRY_AFTER_S
            )
