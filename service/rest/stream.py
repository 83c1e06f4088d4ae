"""``/v1/stream``: live video over a WebSocket, for browsers above all.

The query says how depth is wanted, as for one image, and how the stream is to be run. Each binary message is
a frame; frames are numbered from 0. Each answer is a text message, a JSON object with the frame's number and
either what is needed to read the depth map, which follows as a binary message, or an error. The text message
``end`` asks for the answers that are still due, and then the end. A JSON object with ``points``, ``boxes`` or
``polygons`` before a frame asks for distances to them in place of its map; ``pose`` in it is the camera's.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from service.contract.answer import DepthAnswer
from service.contract.errors import InvalidArgument, ServiceError
from service.contract.options import LiveOptions, read_options
from service.contract.pose import Pose, pose_of_list
from service.contract.regions import KINDS, regions_of_lists
from service.contract.wire import write_json
from service.rest.cors import check_origin
from service.rest.errors import ClientGone, answer_of
from service.rest.options import query_pairs
from service.rest.websocket import TRANSPORT
from service.scheduling.budget import Share
from service.transports.frontend import Frontend
from service.transports.streaming import Frame, FrameAnswer, FrameStream, StreamShares

SUBPROTOCOL = "depth.v1"
"""Accepted where a client offers it; browsers that offer their key have to offer something to accept."""
_NORMAL, _UNSUPPORTED, _RESTARTING = 1000, 1003, 1012


class StreamEndpoint:
    """Answers the frames of one WebSocket."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the stream, or say as HTTP why not; answer until either side has enough."""
        await receive()  # websocket.connect: there is nothing in it
        check_origin(scope["headers"], self._frontend.settings.cors_origins)
        with (
            self._frontend.body_share(TRANSPORT) as bodies,
            self._frontend.answer_share(TRANSPORT) as answers,
        ):
            frames = _Frames(receive, bodies)
            shares = StreamShares(bodies=bodies, answers=answers, size_of=_size_of)
            await self._answer(self._open(scope, frames, shares), frames, scope, send)

    async def _answer(
        self, stream: FrameStream[DepthAnswer], frames: "_Frames", scope: Scope, send: Send
    ) -> None:
        with self._frontend.streams.admit(stream, TRANSPORT):
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

    def _open(
        self, scope: Scope, frames: "_Frames", shares: StreamShares[DepthAnswer]
    ) -> FrameStream[DepthAnswer]:
        options = read_options(LiveOptions, query_pairs(scope["query_string"]))
        return self._frontend.frame_stream(frames.read(), options, shares, transport=TRANSPORT)


class _Frames:
    """The frames that a WebSocket brings, and word of its end."""

    def __init__(self, receive: Receive, share: Share) -> None:
        self._receive = receive
        self._share = share
        self.gone = False
        self.on_gone: Any = None

    async def read(self) -> AsyncIterator[Frame]:
        number = 0
        told = _Told()
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
                told = _told(message.get("text") or "")
                continue
            self._share.take(len(image))
            yield Frame(id=number, image=image, held_bytes=len(image), wanted=told.wanted, pose=told.pose)
            number += 1
            told = _Told()


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a text message says of the next frame."""

    wanted: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its DepthRequest."""
    pose: Pose | None = None


def _told(text: str) -> _Told:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        told = None
    known = (*KINDS, "pose")
    if not isinstance(told, dict) or not told or not set(told) <= set(known):
        raise InvalidArgument(
            f"the text message {text[:40]!r} came; expected frames as binary messages, 'end', or a JSON "
            f"object with {', '.join(known)}"
        )
    pose = pose_of_list(told.pop("pose")) if "pose" in told else None
    return _Told(wanted={"regions": regions_of_lists(told), "map": False} if told else {}, pose=pose)


def _size_of(answer: DepthAnswer) -> int:
    return len(answer.body)


async def _answer_all(stream: FrameStream[DepthAnswer], send: Send) -> int:
    """Send every answer; answer the code to close with."""
    try:
        async with stream:
            async for result in stream:
                await send({"type": "websocket.send", "text": orjson.dumps(_describe(result)).decode()})
                if result.answer is not None and result.answer.distances is None:
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
    return line | {"smoothing_factor": 1.0, **write_json(answer)}  # clients of the last release read it
