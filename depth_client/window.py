"""Frames on their way: at most so many at once, in order, and the newest first where only that one counts.

Frames that nobody waits for are left out before they are sent: what is old would only fill the network.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from depth_client.outgoing import Outgoing

FrameT = TypeVar("FrameT")
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Sent(Generic[FrameT]):
    """A frame that was sent."""

    frame: FrameT
    skipped: int
    """How many gave their place to it."""


class Window(Generic[FrameT]):
    """An iterator of frames as they are to be sent, which somebody else's thread reads.

    Args:
        source: Read in that thread or, where only the latest counts, in one of its own.
        encode: Makes of a frame what is sent.
        most: Frames that may be without an answer at once.
        latest: Whether a frame that waits gives its place to a newer one.
    """

    def __init__(
        self, source: Iterable[FrameT], encode: Callable[[FrameT], Outgoing], *, most: int, latest: bool
    ) -> None:
        self._encode = encode
        self._room = threading.Semaphore(most)
        self._sent: deque[Sent[FrameT]] = deque()
        self._stopped = False
        self.failure: BaseException | None = None
        """What the source failed with, if it did: to be raised once every frame before it is answered."""
        self._frames = _Latest(source) if latest else _Every(source)

    def __iter__(self) -> Iterator[Outgoing]:
        return self

    def __next__(self) -> Outgoing:
        self._room.acquire()
        if self._stopped:
            raise StopIteration
        try:
            sent = self._frames.take()
            body = None if sent is None else self._encode(sent.frame)
        except BaseException as error:  # the source's; it is raised again where frames are asked for
            self.failure = error
            raise StopIteration from None
        if sent is None or body is None:
            raise StopIteration
        self._sent.append(sent)
        return body

    def answered(self) -> Sent[FrameT] | None:
        """Return the oldest frame that was without an answer, if any, and make room for another."""
        sent = self._sent.popleft() if self._sent else None
        self._room.release()
        return sent

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped = True
        self._frames.stop()
        self._room.release()


class _Every(Generic[FrameT]):
    """Each frame of a source."""

    def __init__(self, source: Iterable[FrameT]) -> None:
        self._source = iter(source)

    def take(self) -> Sent[FrameT] | None:
        for frame in self._source:
            return Sent(frame=frame, skipped=0)
        return None

    def stop(self) -> None:
        return


class _Latest(Generic[FrameT]):
    """The newest frame of a source, which a thread reads as fast as frames come."""

    def __init__(self, source: Iterable[FrameT]) -> None:
        self._news = threading.Condition()
        self._waiting: deque[FrameT] = deque(maxlen=1)
        self._skipped = 0
        self._ended = False
        self._failure: BaseException | None = None
        threading.Thread(target=self._read, args=(source,), daemon=True).start()

    def take(self) -> Sent[FrameT] | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ended)
            if not self._waiting:
                if self._failure is not None:
                    raise self._failure
                return None
            sent = Sent(frame=self._waiting.pop(), skipped=self._skipped)
            self._skipped = 0
            return sent

    def stop(self) -> None:
        with self._news:
            self._ended = True
            self._waiting.clear()
            self._news.notify_all()

    def _read(self, source: Iterable[FrameT]) -> None:
        try:
            for frame in source:
                with self._news:
                    if self._ended:
                        return
                    self._skipped += len(self._waiting)
                    self._waiting.append(frame)
                    self._news.notify_all()
        except BaseException as error:  # the source's; take() raises it again
            self._failure = error
        with self._news:
            self._ended = True
            self._news.notify_all()


class AsyncWindow(Generic[FrameT]):
    """Likewise in an event loop; a source that is not asynchronous is read in threads.

    Use it as ``async with``: where only the latest counts, a task of its own reads the source.
    """

    def __init__(
        self,
        source: AsyncIterable[FrameT] | Iterable[FrameT],
        encode: Callable[[FrameT], Outgoing],
        *,
        most: int,
        latest: bool,
    ) -> None:
        self._source = source if isinstance(source, AsyncIterable) else _in_threads(source)
        self._encode = encode
        self._room = asyncio.Semaphore(most)
        self._sent: deque[Sent[FrameT]] = deque()
        self.failure: BaseException | None = None
        """What the source failed with, if it did: to be raised once every frame before it is answered."""
        self._latest = latest
        self._waiting: deque[FrameT] = deque(maxlen=1)
        self._skipped = 0
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "AsyncWindow[FrameT]":
        if self._latest:
            self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[Outgoing]:
        frames = self._newest() if self._latest else self._each()
        try:
            while True:
                await self._room.acquire()
                sent = await anext(frames, None)
                if sent is None:
                    return
                body = await asyncio.to_thread(self._encode, sent.frame)
                self._sent.append(sent)
                yield body
        except Exception as error:  # the source's; it is raised again where frames are asked for
            self.failure = error

    def answered(self) -> Sent[FrameT] | None:
        """Return the oldest frame that was without an answer, if any, and make room for another."""
        sent = self._sent.popleft() if self._sent else None
        self._room.release()
        return sent

    async def _each(self) -> AsyncIterator[Sent[FrameT]]:
        async for frame in self._source:
            yield Sent(frame=frame, skipped=0)

    async def _newest(self) -> AsyncIterator[Sent[FrameT]]:
        if self._reading is None:
            raise RuntimeError("an AsyncWindow is read inside its `async with`")
        while True:
            while self._waiting:
                sent = Sent(frame=self._waiting.pop(), skipped=self._skipped)
                self._skipped = 0
                yield sent
            if self._reading.done():
                self._reading.result()
                return
            self._news.clear()
            await self._news.wait()

    async def _read(self) -> None:
        try:
            async for frame in self._source:
                self._skipped += len(self._waiting)
                self._waiting.append(frame)
                self._news.set()
        finally:
            asyncio.get_running_loop().call_soon(self._news.set)  # once this task is done


async def _in_threads(source: Iterable[FrameT]) -> AsyncIterator[FrameT]:
    frames = iter(source)
    while True:
        frame = await asyncio.to_thread(next, frames, _NOTHING)
        if frame is _NOTHING:
            return
        yield frame  # type: ignore[misc]
