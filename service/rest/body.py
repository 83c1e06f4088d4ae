"""A request's body, bounded while it is read: in bytes, in time, and over all requests together.

It does not know what the bytes mean.
"""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.types import Receive

from service.budget import Share
from service.rest.errors import BodyTimedOut, BodyTooLarge, ClientGone

ResultT = TypeVar("ResultT")


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
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
