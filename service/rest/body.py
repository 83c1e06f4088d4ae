"""A request's body, bounded while it is read: in bytes, in time, and over all requests together."""

import asyncio
import zlib
from collections.abc import Coroutine, Mapping
from typing import TypeVar

from starlette.types import Receive

from service.contract.errors import InvalidArgument
from service.rest.errors import BodyTimedOut, BodyTooLarge, ClientGone, UnsupportedMediaType
from service.scheduling.budget import Share
from service.settings import Settings
from service.transports.threads import by_size

ResultT = TypeVar("ResultT")
_FREE_BYTES = 2**20
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


async def read_body(
    receive: Receive, content_length: str | None, share: Share, *, max_bytes: int, timeout_s: float
) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: It says that it is, or turns out to be, larger than allowed.
        BodyTimedOut: It did not arrive in time.
        ClientGone: The client hung up.
        Overloaded: Other bodies fill the memory.
    """
    # Whatever else the header says, the HTTP parser has refused already.
    if content_length is not None and int(content_length) > max_bytes:
        raise BodyTooLarge(f"the body has {content_length} bytes; expected at most {max_bytes}")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > max_bytes:
                    raise BodyTooLarge(f"the body has more than {max_bytes} bytes")
                share.take(len(chunk))
                chunks.append(chunk)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise BodyTimedOut(f"the body did not arrive within {timeout_s:g} s") from None
    return chunks[0] if len(chunks) == 1 else await by_size(size, b"".join, chunks)


async def read_request_body(
    receive: Receive,
    headers: Mapping[str, str],
    share: Share,
    settings: Settings,
    *,
    max_bytes: int | None = None,
    timeout_s: float | None = None,
) -> bytes:
    """Read a body, and unpack it where its sender packed it.

    Args:
        receive: The request's.
        headers: The request's, with names in small letters.
        share: Where its bytes are counted.
        settings: The limits.
        max_bytes: Of it, packed or not, where that is fewer than the settings say.
        timeout_s: Likewise.

    Raises:
        BodyTooLarge: It has more bytes than allowed, packed or unpacked.
        UnsupportedMediaType: It is packed in a way that is not read here.
        InvalidArgument: It cannot be unpacked.
    """
    max_bytes = max_bytes or settings.max_body_bytes
    timeout_s = timeout_s or settings.body_timeout_s
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *_WINDOW_BITS):
        raise UnsupportedMediaType(
            f"the body's encoding is {encoding[:40]!r}; expected gzip, deflate or none"
        )
    body = await read_body(
        receive,
        headers.get("content-length"),
        share,
        max_bytes=max_bytes,
        timeout_s=timeout_s,
    )
    if encoding == "identity":
        return body
    # What it may become is taken before it is unpacked, and what it did not become is given back.
    most = min(max_bytes, _FREE_BYTES + settings.max_unpacked_ratio * len(body))
    share.take(most)
    unpacked = await asyncio.to_thread(_unpack, body, _WINDOW_BITS[encoding], most)
    share.give(most - len(unpacked))
    return unpacked


def _unpack(body: bytes, window_bits: int, most: int) -> bytes:
    reader = zlib.decompressobj(window_bits)
    try:
        unpacked = reader.decompress(body, most + 1)
    except zlib.error:
        raise InvalidArgument("the body is not packed as its Content-Encoding says") from None
    if len(unpacked) > most:
        raise BodyTooLarge(
            f"the body of {len(body)} bytes has more than {most} when it is unpacked; expected at most "
            "so many (DEPTH_MAX_BODY_BYTES, DEPTH_MAX_UNPACKED_RATIO)"
        )
    if not reader.eof:
        raise InvalidArgument("the body is packed, and cut short")
    return unpacked


async def unless_gone(receive: Receive, work: Coroutine[object, object, ResultT]) -> ResultT:
    """Do the work, or cancel it as soon as the client hangs up; the body has been read before.

    Raises:
        ClientGone: The client hung up.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(receive))
    watch.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled():
            raise ClientGone from None
        raise
    finally:
        watch.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
