import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.contract.errors import DeadlineExceeded, InvalidImage, NotReady, Overloaded
from service.engine import Turn
from service.scheduling.budget import ByteBudget, Share
from service.transports.streaming import (
    Frame,
    FrameAnswer,
    FrameStream,
    OpenStreams,
    StreamOptions,
    StreamShares,
)


def frame_stream(frames: Any, answer: Any, options: StreamOptions) -> FrameStream[Any]:
    """A stream whose accounts are never full."""
    bodies, answers = (
        Share(ByteBudget(1 << 40, "is held", setting="MOST"), "test", "somebody") for _ in range(2)
    )
    return FrameStream(
        frames, answer, options, StreamShares(bodies=bodies, answers=answers, size_of=lambda answer: 0)
    )


class Source:
    """Frames 0, 1, 2, ... as they are let out, and how many have been read."""

    def __init__(self, count: int = 0) -> None:
        self._queue: asyncio.Queue[Frame | Exception | None] = asyncio.Queue()
        self.read = 0
        for number in range(count):
            self.send(number)
        if count:
            self.end()

    def send(self, number: int) -> None:
        self._queue.put_nowait(Frame(id=number, image=str(number).encode()))

    def end(self, error: Exception | None = None) -> None:
        self._queue.put_nowait(error)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            self.read += 1
            yield item


class Handler:
    """Answers a frame with its number once it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.started: list[int] = []
        self.cancelled: list[int] = []
        self.running = 0
        self.most_running = 0
        self._held = held

    async def __call__(self, frame: Frame, turn: Turn | None) -> int:
        self.started.append(frame.id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        gate = self.gates.setdefault(frame.id, asyncio.Event())
        try:
            if self._held:
                await gate.wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(frame.id)
            raise
        finally:
            self.running -= 1
        return frame.id

    def release(self, number: int) -> None:
        self.gates.setdefault(number, asyncio.Event()).set()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def collect(stream: FrameStream[int]) -> list[FrameAnswer[int]]:
    async with stream:
        return [answer async for answer in stream]


async def test_every_frame_is_answered_in_order() -> None:
    answers = await collect(frame_stream(Source(20), Handler(), StreamOptions()))
    assert [answer.frame_id for answer in answers] == list(range(20))
    assert [answer.answer for answer in answers] == list(range(20))
    assert all(answer.skipped == 0 for answer in answers)


async def test_a_frame_that_is_done_early_waits_for_those_before_it() -> None:
    handler = Handler(held=True)
    stream = frame_stream(Source(3), handler, StreamOptions(max_in_flight=3))
    collecting = asyncio.ensure_future(collect(stream))
    await settle()
    for number in (2, 1, 0):
        assert not collecting.done()
        handler.release(number)
        await settle()
    assert [answer.frame_id for answer in await collecting] == [0, 1, 2]


async def test_no_more_frames_are_in_flight_than_allowed_and_none_is_read_ahead() -> None:
    handler = Handler(held=True)
    source = Source(10)
    stream = frame_stream(source, handler, StreamOptions(max_in_flight=3))
    async with stream:
        await settle()
        assert handler.started == [0, 1, 2]
        assert source.read == 3


async def test_a_frame_is_in_flight_until_its_answer_has_been_taken() -> None:
    source = Source(10)
    async with frame_stream(source, Handler(), StreamOptions(max_in_flight=2)) as stream:
        answers = aiter(stream)
        await anext(answers)
        await settle()
        assert source.read == 2  # the first one is still being sent
        await anext(answers)
        await settle()
        assert source.read == 3


async def test_a_frame_that_fails_harms_no_other() -> None:
    async def answer(frame: Frame, turn: Turn | None) -> int:
        if frame.id == 1:
            raise InvalidImage("not an image")
        return frame.id

    answers = await collect(frame_stream(Source(3), answer, StreamOptions()))
    assert [answer.answer for answer in answers] == [0, None, 2]
    assert isinstance(answers[1].error, InvalidImage)


async def test_the_latest_frame_wins_and_those_before_it_are_counted() -> None:
    handler = Handler(held=True)
    source = Source()
    stream = frame_stream(source, handler, StreamOptions(latest=True, max_in_flight=1))
    collecting = asyncio.ensure_future(collect(stream))
    for number in range(5):
        source.send(number)
    await settle()
    assert source.read == 5
    assert handler.started == [0]
    handler.release(0)
    await settle()
    assert handler.started == [0, 4]
    handler.release(4)
    source.end()
    answers = await collecting
    assert [(answer.frame_id, answer.skipped) for answer in answers] == [(0, 0), (4, 3)]


async def test_the_last_frame_is_answered_even_if_it_had_to_wait() -> None:
    handler = Handler(held=True)
    source = Source()
    stream = frame_stream(source, handler, StreamOptions(latest=True, max_in_flight=1))
    collecting = asyncio.ensure_future(collect(stream))
    source.send(0)
    source.send(1)
    source.end()
    await settle()
    handler.release(0)
    handler.release(1)
    assert [answer.frame_id for answer in await collecting] == [0, 1]


async def test_leaving_cancels_what_is_still_being_answered() -> None:
    handler = Handler(held=True)
    async with frame_stream(Source(5), handler, StreamOptions(max_in_flight=2)):
        await settle()
    assert handler.cancelled == [0, 1]
    assert handler.running == 0


async def test_a_consumer_that_is_cancelled_cancels_the_frames() -> None:
    handler = Handler(held=True)
    collecting = asyncio.ensure_future(collect(frame_stream(Source(5), handler, StreamOptions())))
    await settle()
    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting
    assert handler.cancelled == [0, 1, 2, 3]


async def test_draining_answers_what_was_taken_and_takes_no_more() -> None:
    handler = Handler(held=True)
    source = Source(10)
    stream = frame_stream(source, handler, StreamOptions(max_in_flight=2))
    collecting = asyncio.ensure_future(collect(stream))
    await settle()
    stream.drain()
    for number in range(10):
        handler.release(number)
    assert [answer.frame_id for answer in await collecting] == [0, 1]
    assert stream.drained
    assert source.read == 2


async def test_a_source_that_breaks_is_told_after_the_answers_that_are_due() -> None:
    source = Source()
    source.send(0)
    source.end(RuntimeError("broken pipe"))
    async with frame_stream(source, Handler(), StreamOptions()) as stream:
        answers = aiter(stream)
        assert (await anext(answers)).frame_id == 0
        with pytest.raises(RuntimeError, match="broken pipe"):
            await anext(answers)


async def test_a_stream_that_brings_nothing_is_closed() -> None:
    stream = frame_stream(Source(), Handler(), StreamOptions(idle_timeout_s=0.02))
    with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
        await collect(stream)


async def test_frames_have_their_turns_in_their_order_whatever_order_they_come_in() -> None:
    gates = [asyncio.Event() for _ in range(4)]
    turns: list[int] = []

    async def answer(frame: Frame, turn: Turn | None) -> int:
        await gates[frame.id].wait()
        assert turn is not None
        await turn.before.wait()
        turns.append(frame.id)
        turn.done.set()
        return frame.id

    stream = frame_stream(Source(4), answer, StreamOptions(steadiness=0.5, max_in_flight=4))
    collecting = asyncio.ensure_future(collect(stream))
    for gate in reversed(gates):
        await settle()
        gate.set()
    await collecting
    assert turns == [0, 1, 2, 3]


async def test_a_failed_frame_does_not_hold_up_the_turns_of_those_after_it() -> None:
    async def answer(frame: Frame, turn: Turn | None) -> int:
        if frame.id == 1:
            raise InvalidImage("not an image")
        assert turn is not None
        await turn.before.wait()
        turn.done.set()
        return frame.id

    answers = await collect(frame_stream(Source(3), answer, StreamOptions(steadiness=0.5)))
    assert [answer.answer for answer in answers] == [0, None, 2]


async def test_frames_of_one_stream_share_a_state_and_those_of_two_do_not() -> None:
    async def answer(frame: Frame, turn: Turn | None) -> Any:
        assert turn is not None
        return turn.steadier

    first, second = [
        {
            each.answer
            for each in await collect(frame_stream(Source(3), answer, StreamOptions(steadiness=0.5)))
        }
        for _ in range(2)
    ]
    assert (len(first), len(second), len(first | second)) == (1, 1, 2)


async def test_without_steadiness_a_frame_has_no_turn() -> None:
    async def answer(frame: Frame, turn: Turn | None) -> int:
        assert turn is None
        return frame.id

    assert len(await collect(frame_stream(Source(2), answer, StreamOptions()))) == 2


async def test_no_more_streams_are_open_than_allowed() -> None:
    refused: list[str] = []
    streams = OpenStreams(1, refused.append)
    first, second = (frame_stream(Source(1), Handler(), StreamOptions()) for _ in range(2))
    with streams.admit(first, "grpc"):
        with pytest.raises(Overloaded), streams.admit(second, "grpc"):
            pass
        assert len(streams) == 1
        assert refused == ["grpc"]
    with streams.admit(second, "grpc"):
        assert len(streams) == 1


async def test_draining_waits_for_every_stream_and_opens_no_more() -> None:
    streams = OpenStreams(2)
    handler = Handler(held=True)
    stream = frame_stream(Source(5), handler, StreamOptions(max_in_flight=2))

    async def run() -> list[FrameAnswer[int]]:
        with streams.admit(stream, "grpc"):
            return await collect(stream)

    running = asyncio.ensure_future(run())
    await settle()
    draining = asyncio.ensure_future(streams.drain())
    await settle()
    assert not draining.done()
    with pytest.raises(NotReady), streams.admit(stream, "grpc"):
        pass
    handler.release(0)
    handler.release(1)
    await draining
    assert len(await running) == 2


async def messages(*said: str, held: bool = False) -> AsyncIterator[str]:
    if held:
        await asyncio.Event().wait()
    for message in said:
        yield message


async def test_a_stream_that_does_not_begin_holds_its_place_for_so_long_and_no_closing_up() -> None:
    streams = OpenStreams(1)
    with pytest.raises(DeadlineExceeded, match=r"did not come for 0\.01 s"):
        await streams.opening(messages(held=True), "grpc", 0.01)
    waiting = asyncio.ensure_future(streams.opening(messages(held=True), "grpc", 60.0))
    await settle()
    assert len(streams) == 1
    with pytest.raises(Overloaded):
        await streams.opening(messages("config"), "grpc", 60.0)
    await streams.drain()
    with pytest.raises(NotReady):
        await waiting
    assert len(streams) == 0


async def test_a_stream_is_opened_by_its_first_message_or_by_its_end() -> None:
    streams = OpenStreams(1)
    assert await streams.opening(messages("config", "frame"), "grpc", 60.0) == "config"
    assert await streams.opening(messages(), "grpc", 60.0) is None
