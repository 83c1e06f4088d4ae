"""The body of a request under ``/v2``: read whole within bounds, and unpacked where its sender packed it.

It does not know what the bytes mean.
"""

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Receive

from service.budget import Share
from service.errors import InvalidArgument
from service.rest.body import read_body
from service.rest.errors import BodyTooLarge, UnsupportedMediaType
from service.settings import Settings

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


async def read_request_body(
    receive: Receive, headers: Mapping[str, str], share: Share, settings: Settings, *, max_bytes: int
) -> bytes:
    """Read a body.

    Raises:
        BodyTooLarge: It has more bytes than allowed, packed or unpacked.
        UnsupportedMediaType: It is packed in a way that is not read here.
        InvalidArgument: It cannot be unpacked.
    """
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
        timeout_s=settings.body_timeout_s,
    )
    if encoding == "identity":
        return body
    unpacked = await asyncio.to_thread(_unpack, body, _WINDOW_BITS[encoding], max_bytes)
    share.take(len(unpacked))
    return unpacked


def _unpack(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    reader = zlib.decompressobj(window_bits)
    try:
        unpacked = reader.decompress(body, max_bytes + 1)
    except zlib.error:
        raise InvalidArgument("the body is not packed as its Content-Encoding says") from None
    if len(unpacked) > max_bytes:
        raise BodyTooLarge(f"the body has more than {max_bytes} bytes when it is unpacked")
    if not reader.eof:
        raise InvalidArgument("the body is packed, and cut short")
    return unpacked
