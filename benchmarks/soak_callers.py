"""Callers of every kind for the soak: well-behaved, mistaken, impatient, and gone before the answer.

Each knows what it must be answered.
"""

import asyncio
import json
import struct
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import grpc
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.soak_corpus import FOV_DEG, Corpus
from benchmarks.soak_misuse import Misuse
from service.contract.request import Format
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

TIMEOUT_S = 120.0
"""What is not answered by then counts as unanswered."""
_HEADER = struct.pack(">4sIIBBBBB", b"IHDR", 30_000, 30_000, 8, 2, 0, 0, 0)
_BOMB = b"".join(
    (
        b"\x89PNG\r\n\x1a\n",
        struct.pack(">I", 13),
        _HEADER,
        struct.pack(">I", zlib.crc32(_HEADER)),
        struct.pack(">I4s", 9999, b"IDAT"),
    )
)
"""A header that promises 900 megapixels."""


@dataclass
class Tally:
    """What became of everything that was asked."""

    asked: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """By way and outcome, such as `http answered`."""
    wrong: list[str] = field(default_factory=list)
    """Answers that were not what they had to be, in words."""
    unanswered: list[str] = field(default_factory=list)

    def count(self, way: str, outcome: str, number: int = 1) -> None:
        """Count requests by how they ended."""
        self.outcomes[f"{way} {outcome}"] += number

    def check(self, way: str, outcome: str, right: bool, found: object) -> None:
        """Count one that was answered, rightly or not."""
        self.count(way, outcome if right else "wrong")
        if not right:
            self.wrong.append(f"{way}, {outcome} expected: {str(found)[:400]}")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a caller asks for."""

    photograph: int
    model: str
    format: Format
    size: str

    @property
    def query(self) -> str:
        """As HTTP says it."""
        return f"model={self.model}&format={self.format}&size={self.size}&fov_deg={FOV_DEG:g}"

    @property
    def options(self) -> pb.Options:
        """As gRPC says it."""
        return pb.Options(
            model=self.model,
            format=pb.Format.Value(f"FORMAT_{self.format.upper()}"),
            size=pb.SIZE_MODEL if self.size == "model" else pb.SIZE_INPUT,
            lens=pb.Lens(horizontal_fov_deg=FOV_DEG),
        )


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something that must be refused, and how."""

    image: bytes
    query: str
    options: pb.Options
    code: str
    """The error's word, which all transports share."""


class Caller:
    """One client that does one thing after another over its own connections.

    Args:
        corpus: What it sends.
        tally: Where it counts.
        http_port: Of the service.
        grpc_port: Likewise.
    """

    def __init__(self, corpus: Corpus, tally: Tally, http_port: int, grpc_port: int) -> None:
        self._corpus, self._tally = corpus, tally
        self._http_port = http_port
        options = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}", options=options)
        self._stub = DepthStub(self._channel)
        self._misuse = Misuse(http_port, self._channel)
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def close(self) -> None:
        """Hang up everywhere."""
        self._hang_up()
        await self._channel.close()

    async def do(self, random: Random) -> None:
        """Do one thing; the dice say what."""
        ways = (
            (30, self._http), (8, self._http_mistake), (6, self._http_gone),
            (20, self._unary), (5, self._unary_mistake), (5, self._unary_cancelled), (3, self._unary_hurried),
            (3, self._stream), (3, self._websocket), (9, self._strange),
        )  # fmt: skip
        way = random.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
        before = self._tally.asked
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await way(random)
        except TimeoutError:
            self._hang_up()
            self._tally.unanswered.append(f"{way.__name__}, after {self._tally.asked - before} requests")
        except (OSError, asyncio.IncompleteReadError, grpc.RpcError, ConnectionClosed) as error:
            self._hang_up()
            self._tally.wrong.append(f"{way.__name__}: {type(error).__name__}: {error}"[:300])

    def _wish(self, random: Random) -> Wish:
        return Wish(
            photograph=random.randrange(len(self._corpus.photographs)),
            model=random.choice(self._corpus.models),
            format=random.choice(tuple(Format)),
            size=random.choice(("input", "model")),
        )

    def _photograph(self, wish: Wish) -> bytes:
        return self._corpus.photographs[wish.photograph]

    def _check_answer(self, way: str, wish: Wish, body: bytes, trouble: object = None) -> None:
        """Count an answer; `trouble` is whatever else came of the request that should not have."""
        difference = self._corpus.difference(wish.photograph, wish.model, wish.format, wish.size, body)
        self._tally.check(way, "answered", not trouble and not difference, (trouble, wish, difference))

    def _mistake(self, random: Random) -> Mistake:
        whole = random.choice(self._corpus.photographs)
        junk = random.randbytes(random.randint(1, 5000))
        wrong, fine = pb.Options(format=99), pb.Options()  # type: ignore[arg-type]
        return random.choice(
            (
                Mistake(image=junk, query="", options=fine, code="invalid_image"),
                Mistake(image=whole[: len(whole) // 2], query="", options=fine, code="invalid_image"),
                Mistake(image=_BOMB + junk, query="", options=fine, code="image_too_large"),
                Mistake(image=whole, query="format=bmp", options=wrong, code="invalid_argument"),
                Mistake(
                    image=whole,
                    query="format=ply",
                    options=pb.Options(format=pb.FORMAT_PLY),
                    code="invalid_argument",
                ),
                Mistake(
                    image=whole, query="model=none", options=pb.Options(model="none"), code="unknown_model"
                ),
            )
        )

    async def _strange(self, random: Random) -> None:
        self._tally.asked += 1
        trouble = await self._misuse.do(random)
        self._tally.check("strange", "refused", not trouble, trouble)

    # HTTP

    async def _http(self, random: Random) -> None:
        wish = self._wish(random)
        self._tally.asked += 1
        status, body = await self._post(wish.query, self._photograph(wish))
        self._check_answer("http", wish, body, trouble=None if status == 200 else status)

    async def _http_mistake(self, random: Random) -> None:
        mistake = self._mistake(random)
        self._tally.asked += 1
        status, body = await self._post(mistake.query, mistake.image)
        code = json.loads(body)["error"]["code"] if 400 <= status < 500 else None
        self._tally.check("http", "refused", code == mistake.code, (status, mistake.code, body[:200]))

    async def _http_gone(self, random: Random) -> None:
        """Leave with half a request sent, with a whole one, or with a part of the answer taken."""
        wish = self._wish(random)
        self._hang_up()
        reader, writer = await self._connected()
        self._tally.asked += 1
        request = _request(wish.query, self._photograph(wish))
        stage = random.randrange(3)
        writer.write(request if stage else request[: random.randrange(1, len(request))])
        await writer.drain()
        if stage == 2:
            await reader.read(random.randint(1, 2000))
        else:
            await asyncio.sleep(random.random() * 0.02)
        self._hang_up()
        self._tally.count("http", "left")

    async def _post(self, query: str, body: bytes) -> tuple[int, bytes]:
        reader, writer = await self._connected()
        writer.write(_request(query, body))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        answer = await reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"connection") == b"close":
            self._hang_up()
        return int(lines[0].split()[1]), answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is None or self._connection[0].at_eof():
            self._connection = await asyncio.open_connection("127.0.0.1", self._http_port)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None

    # gRPC

    def _call(self, wish: Wish) -> pb.PredictRequest:
        return pb.PredictRequest(image=self._photograph(wish), options=wish.options)

    async def _unary(self, random: Random) -> None:
        wish = self._wish(random)
        self._tally.asked += 1
        answer = await self._stub.Predict(self._call(wish))
        self._check_answer("unary", wish, answer.data)

    async def _unary_mistake(self, random: Random) -> None:
        mistake = self._mistake(random)
        self._tally.asked += 1
        try:
            await self._stub.Predict(pb.PredictRequest(image=mistake.image, options=mistake.options))
        except grpc.aio.AioRpcError as error:
            told = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            self._tally.check("unary", "refused", mistake.code.encode() in bytes(told), (error, mistake.code))
        else:
            self._tally.check("unary", "refused", False, mistake.code)

    async def _unary_cancelled(self, random: Random) -> None:
        wish = self._wish(random)
        self._tally.asked += 1
        call = self._stub.Predict(self._call(wish))
        await asyncio.sleep(random.random() * 0.02)
        if call.cancel():
            self._tally.count("unary", "left")
        else:
            answer = await call
            self._check_answer("unary", wish, answer.data)

    async def _unary_hurried(self, random: Random) -> None:
        """Give less time than may be needed: the answer, or word that it came to nothing in time."""
        wish = self._wish(random)
        self._tally.asked += 1
        try:
            answer = await self._stub.Predict(self._call(wish), timeout=random.random() * 0.05)
        except grpc.aio.AioRpcError as error:
            late = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self._tally.check("unary", "too late", error.code() in late, error)
        else:
            self._check_answer("unary", wish, answer.data)

    # Streams

    def _frames(self, random: Random) -> tuple[Wish, list[int | None]]:
        """Choose how a stream is answered and its frames: numbers of photographs, None for junk."""
        count = len(self._corpus.photographs)
        frames = [
            None if random.random() < 0.1 else random.randrange(count) for _ in range(random.randint(1, 16))
        ]
        return self._wish(random), frames

    def _image(self, frame: int | None) -> bytes:
        return b"no photograph" if frame is None else self._corpus.photographs[frame]

    def _check_frame(self, way: str, wish: Wish, frame: int | None, body: bytes, trouble: str) -> None:
        """Check what became of a frame; `trouble` is its error's code and message, if it has one."""
        if frame is None:
            self._tally.check(way, "refused", trouble.startswith("invalid_image:"), (trouble, body[:80]))
        else:
            self._check_answer(way, replace(wish, photograph=frame), body, trouble)

    async def _stream(self, random: Random) -> None:
        wish, frames = self._frames(random)
        leaves_after = random.randrange(len(frames)) if random.random() < 0.2 else None

        def messages() -> Iterator[pb.StreamRequest]:
            yield pb.StreamRequest(config=pb.StreamConfig(options=wish.options))
            for number, frame in enumerate(frames):
                yield pb.StreamRequest(frame=pb.Frame(id=number + 7, image=self._image(frame)))

        self._tally.asked += len(frames)
        call, got = self._stub.Stream(messages()), 0
        async for answer in call:
            if got == leaves_after:
                break
            if answer.frame_id != got + 7:
                self._tally.wrong.append(f"stream: frame {answer.frame_id} in the place of {got + 7}")
            trouble = f"{answer.error.code}: {answer.error.message}" if answer.HasField("error") else ""
            self._check_frame("stream", wish, frames[got], answer.depth.data, trouble)
            got += 1
        if leaves_after is None:
            self._tally.check("stream", "ended", got == len(frames), (got, len(frames)))
        else:
            call.cancel()
            self._tally.count("stream", "left", len(frames) - got)

    async def _websocket(self, random: Random) -> None:
        wish, frames = self._frames(random)
        leaves_after = random.randrange(len(frames)) if random.random() < 0.2 else None
        self._tally.asked += len(frames)
        url = f"ws://127.0.0.1:{self._http_port}/v1/stream?{wish.query}"
        got = 0
        async with connect(url, max_size=None, compression=None, ping_interval=None) as socket:
            sending = asyncio.ensure_future(_send_all(socket, [self._image(frame) for frame in frames]))
            async for number, trouble, body in _answers(socket):
                if got == leaves_after:
                    break
                if number != got:
                    self._tally.wrong.append(f"websocket: frame {number} in the place of {got}")
                self._check_frame("websocket", wish, frames[got], body, trouble)
                got += 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if leaves_after is not None:
                socket.transport.abort()
        if leaves_after is None:
            self._tally.check("websocket", "ended", got == len(frames), (got, len(frames)))
        else:
            self._tally.count("websocket", "left", len(frames) - got)


def _request(query: str, body: bytes) -> bytes:
    head = f"POST /v1/depth?{query} HTTP/1.1\r\nhost: soak\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _send_all(socket: object, images: Sequence[bytes]) -> None:
    for image in images:
        await socket.send(image)  # type: ignore[attr-defined]
    await socket.send("end")  # type: ignore[attr-defined]


async def _answers(socket: object) -> AsyncIterator[tuple[int, str, bytes]]:
    """Yield each frame's number, its error's code and message, and its depth map."""
    async for line in socket:  # type: ignore[attr-defined]
        told = json.loads(line)
        error = told.get("error")
        body = b"" if error else await socket.recv()  # type: ignore[attr-defined]
        yield told["frame"], f"{error['code']}: {error['message']}" if error else "", body
