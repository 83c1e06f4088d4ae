"""Depth answers as HTTP carries them: the map as the body, everything else as headers."""

import orjson
from starlette.types import Send

from service.contract.answer import DepthAnswer
from service.contract.wire import write_headers
from service.rest.errors import Headers


def answer_headers(answer: DepthAnswer) -> Headers:
    """Write everything that is needed to read the body."""
    return [*write_headers(answer), (b"content-length", str(len(answer.body)).encode())]


_OF_THE_MAP = frozenset(
    (b"content-type", b"x-depth-format", b"x-depth-dtype", b"x-depth-scale", b"x-depth-invalid")
)


def distances_answer(answer: DepthAnswer) -> tuple[Headers, bytes]:
    """Return the headers and the JSON body of distances: short, so that robots can read them in passing."""
    distances = {} if answer.distances is None else answer.distances.to_json()
    body = orjson.dumps({"unit": answer.unit, "scale_source": answer.scale_source, **distances})
    headers = [each for each in write_headers(answer) if each[0] not in _OF_THE_MAP]
    length = str(len(body)).encode()
    return [*headers, (b"content-type", b"application/json"), (b"content-length", length)], body


async def send_answer(send: Send, headers: Headers, *body: bytes) -> None:
    """Send an answer, its body in one piece or in several, and wait until nearly all of it has been read."""
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    # The server takes each piece at once, and then waits with the next until there is room.
    await send({"type": "http.response.body", "body": b""})
