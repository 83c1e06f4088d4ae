"""Requests that no client of ours sends, small and cheap, through every transport; all must be refused."""

import asyncio
import contextlib
import gzip
from collections.abc import Mapping
from random import Random

import grpc
from google.protobuf.message import Message

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2 as kserve

_POST = b"POST /v1/depth HTTP/1.1\r\nhost: soak\r\n"
_INFER = b"POST /v2/models/student/infer HTTP/1.1\r\nhost: soak\r\n"
_UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nhost: soak\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_PACKED = b"content-encoding: gzip\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)


def _with_body(head: bytes, body: bytes) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def _frame(payload: bytes, kind: int) -> bytes:
    """A client's WebSocket frame, masked with zeros."""
    return bytes((kind, 0x80 | len(payload))) + bytes(4) + payload


_JSON = b'{"inputs":[' + b"{}," * 20_000 + b"{}]}"
HTTP: Mapping[str, bytes] = {
    "no http": b"\x16\x03\x01hello\r\n\r\n",
    "a head too large": _POST + b"a: b\r\n" * 12_000,
    "many inputs": _with_body(_INFER, _JSON),
    "many inputs, packed": _with_body(_INFER + _PACKED, gzip.compress(_JSON * 8)),
    "zeros, packed": _with_body(_INFER + _PACKED, gzip.compress(bytes(4 << 20))),
    "a chunk without a size": _POST + _CHUNKED + b"z\r\n",
    "trailers without end": _POST + _CHUNKED + b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 12_000,
    "a form of many parts": _with_body(
        _POST + b"content-type: multipart/form-data; boundary=b\r\n",
        b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n\r\n' * 500 + b"--b--\r\n",
    ),
    "a stream of broken text": _UPGRADE + _frame(b"\xff\xfe", 0x81),
    "a stream of unmasked frames": _UPGRADE + b"\x82\x01x",
}
"""To each of these the service says something, and hangs up or waits for more."""
LEFT: Mapping[str, bytes] = {
    "requests in a row": _with_body(_POST, b"x" * 100) * 4,
    "chunks of one byte": _POST + _CHUNKED + b"1\r\nx\r\n" * 2_000,
    "half a body": _POST + b"content-length: 1000\r\n\r\nx",
    "pings": _UPGRADE + _frame(b"", 0x89) * 500,
    "pieces of a message": _UPGRADE + _frame(b"x", 0x02) + _frame(b"", 0x00) * 500,
    "half a frame": _UPGRADE + bytes((0x82, 0xFE, 4, 0)) + bytes(14),
}
"""After these the caller leaves."""
MESSAGES: Mapping[str, bytes] = {
    "inputs": b"\x2a\0" * 20_000,
    "parameters": b"\x22\0" * 20_000,
    "raw contents": b"\x3a\0" * 20_000,
    "fields that nobody knows": b"\x98\x06\0" * 20_000,
    "no protobuf": b"\xff" * 20_000,
}
CALLS = ("/inference.GRPCInferenceService/ModelInfer", "/depth.v1.Depth/Predict")


class Misuse:
    """One of them, who does one thing after another, each over a connection of its own but for gRPC.

    Args:
        http_port: Of the service.
        channel: To its gRPC port.
    """

    def __init__(self, http_port: int, channel: grpc.aio.Channel) -> None:
        self._http_port = http_port
        self._channel = channel

    async def do(self, random: Random) -> str:
        """Do one thing; return what is wrong with the answer, or nothing."""
        kind = random.random()
        if kind < 0.4:
            return await self._told(random.choice(list(HTTP)))
        if kind < 0.7:
            await self._leave(random.choice(list(LEFT)), random.random() * 0.02)
            return ""
        return await self._call(random.choice(CALLS), random.choice(list(MESSAGES)))

    async def _told(self, name: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
        try:
            writer.write(HTTP[name])
            # A refusal that comes while we still send may be lost: then the connection is reset.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                line = (await reader.readuntil(b"\r\n"))[9:12]
                if line not in (b"101", b"400", b"413", b"415", b"422", b"429", b"431"):
                    return f"{name}: {line!r}"
            return ""
        finally:
            writer.transport.abort()

    async def _leave(self, name: str, after_s: float) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
        writer.write(LEFT[name])
        await asyncio.sleep(after_s)
        writer.transport.abort()

    async def _call(self, path: str, name: str) -> str:
        kind: type[Message] = kserve.ModelInferResponse if "Infer" in path else pb.PredictResponse
        call = self._channel.unary_unary(path, response_deserializer=kind.FromString)
        try:
            await call(MESSAGES[name])
        except grpc.aio.AioRpcError as error:
            return "" if error.code() in _REFUSED else f"{name}: {error.code()} {error.details()}"
        return f"{name}: answered"
