"""``/v1/stream``: live video over a WebSocket, for browsers above all.

The query says how depth is wanted, as for one image, and how the stream is to be run. Each binary message is
a frame; frames are numbered from 0. Each answer is a text message, a JSON object with the frame's number and
either what is needed to read the depth map, which follows as a binary message, or an error. The text message
``end`` asks for the answers that are still due, and then the end.

It does not know models or codecs.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from service.answer import DepthAnswer
from service.doors import Doors
from service.errors import InvalidArgument, ServiceError
from service.rest.errors import ClientGone, answer_of
from service.rest.options import depth_options, query_pairs, read_number, read_whole
from service.streaming import Frame, FrameAnswer, FrameStream

DOOR = "websocket"
SUBPROTOCOL = "depth.v1"
"""Accepted where a client offers it; browsers that offer their key have to offer something to accept."""
_NORMAL, _UNSUPPORTED, _RESTARTING = 1000, 1003, 1012
_STREAM_NAMES = ("mode", "scale_smoothing", "max_in_flight", "frame_timeout_ms")
_MODES = ("every", "latest")


class StreamEndpoint:
    """Answers the frames of one WebSocket."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the stream, or say as HTTP why not; answer until either side has enough."""
        await receive()  # websocket.connect: there is nothing in it
        frames = _Frames(receive)
        stream = self._open(scope, frames)
        with self._doors.streams.admit(stream, DOOR):
            offered = scope.get("subprotocols", ())
            subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
            answering = asyncio.ensure_future(_answer_all(stream, send))
            frames.on_gone = answering.cancel
            try:
                code = await answering
            except asyncio.CancelledError:
                if frames.gone:
                    raise ClientGone from None
                answering.cancel()
                raise
            await send({"type": "websocket.close", "code": code})

    def _open(self, scope: Scope, frames: "_Frames") -> FrameStream[DepthAnswer]:
        pairs = query_pairs(scope["query_string"])
        run = dict(pair for pair in pairs if pair[0] in _STREAM_NAMES)
        mode = run.get("mode", "every")
        if mode not in _MODES:
            raise InvalidArgument(f"mode is {mode[:40]!r}; expected one of {', '.join(_MODES)}")
        timeout_ms = read_number(run.get("frame_timeout_ms"), "frame_timeout_ms")
        return FrameStream(
            frames.read(),
            self._doors.frame_answerer(
                door=DOOR,
                options=depth_options(tuple(pair for pair in pairs if pair[0] not in _STREAM_NAMES)),
                timeout_s=None if timeout_ms is None else timeout_ms / 1e3,
            ),
            self._doors.stream_options(
                latest=mode == "latest",
                smoothing=read_number(run.get("scale_smoothing"), "scale_smoothing") or 0.0,
                max_in_flight=read_whole(run.get("max_in_flight"), "max_in_flight"),
            ),
        )


class _Frames:
    """The frames that a WebSocket brings, and word of its end."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.gone = False
        self.on_gone: Any = None

    async def read(self) -> AsyncIterator[Frame]:
        number = 0
        while True:
            message: Message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.gone = True
                self.on_gone()
                return
            image = message.get("bytes")
            if image is None:
                if message.get("text") == "end":
                    return
                raise InvalidArgument("a text message came; expected frames as binary messages, or 'end'")
            yield Frame(id=number, image=image)
            number += 1


async def _answer_all(stream: FrameStream[DepthAnswer], send: Send) -> int:
    """Send every answer; answer the code to close with."""
    try:
        async with stream:
            async for result in stream:
                await send({"type": "websocket.send", "text": orjson.dumps(_describe(result)).decode()})
                if result.answer is not None:
                    await send({"type": "websocket.send", "bytes": result.answer.body})
    except ServiceError as error:
        told = answer_of(error)
        text = orjson.dumps({"error": {"code": told.code, "message": told.message}}).decode()
        await send({"type": "websocket.send", "text": text})
        return _UNSUPPORTED
    return _RESTARTING if stream.drained else _NORMAL


def _describe(result: FrameAnswer[DepthAnswer]) -> dict[str, Any]:
    line: dict[str, Any] = {"frame": result.frame_id, "skipped": result.skipped}
    answer = result.answer
    if answer is None:
        error = result.error or RuntimeError("a frame has neither answer nor error")
        told = answer_of(error)
        line["error"] = {"code": told.code, "message": told.message}
        if isinstance(error, ServiceError) and error.retry_after_s is not None:
            line["error"]["retry_after_ms"] = round(error.retry_after_s * 1e3)
        return line
    return line | {
        "smoothing_factor": result.factor,
        "request_id": answer.request_id,
        "media_type": answer.media_type,
        "format": answer.format,
        "width": answer.width,
        "height": answer.height,
        "dtype": answer.dtype,
        "scale": answer.scale,
        "scale_source": answer.scale_source,
        "unit": answer.unit,
        "minimum": answer.minimum,
        "maximum": answer.maximum,
        "invalid": answer.invalid,
        "intrinsics": None if answer.intrinsics is None else asdict(answer.intrinsics),
        "model": answer.model,
        "model_version": answer.model_version,
        "batch_size": answer.batch_size,
        "timings_ms": {phase: seconds * 1e3 for phase, seconds in answer.timings.items()},
    }
