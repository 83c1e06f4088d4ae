"""Depth answers as HTTP carries them: the map as the body, everything else as headers.

It does not know how the body came to be.
"""

from starlette.types import Send

from service.answer import DepthAnswer
from service.request import Intrinsics
from service.rest.errors import Headers


def answer_headers(answer: DepthAnswer) -> Headers:
    """Write everything that is needed to read the body."""
    timings = ", ".join(f"{phase};dur={seconds * 1e3:.3f}" for phase, seconds in answer.timings.items())
    texts = (
        ("content-type", answer.media_type),
        ("content-length", str(len(answer.body))),
        ("x-depth-format", answer.format),
        ("x-depth-width", str(answer.width)),
        ("x-depth-height", str(answer.height)),
        ("x-depth-dtype", answer.dtype),
        ("x-depth-scale", repr(answer.scale)),
        ("x-depth-scale-source", answer.scale_source),
        ("x-depth-unit", answer.unit),
        ("x-depth-min", f"{answer.minimum:.6g}"),
        ("x-depth-max", f"{answer.maximum:.6g}"),
        ("x-depth-invalid", answer.invalid),
        ("x-depth-intrinsics", _intrinsics(answer.intrinsics)),
        ("x-depth-model", answer.model),
        ("x-depth-model-version", answer.model_version),
        ("x-depth-batch-size", str(answer.batch_size)),
        ("server-timing", timings),
    )
    return [(name.encode(), value.encode("latin-1")) for name, value in texts]


def _intrinsics(known: Intrinsics | None) -> str:
    if known is None:
        return "none"
    numbers = (known.fx_px, known.fy_px, known.cx_px, known.cy_px)
    return " ".join(repr(float(number)) for number in numbers)


async def send_answer(send: Send, headers: Headers, *body: bytes) -> None:
    """Send an answer, its body in one piece or in several, and wait until nearly all of it has been read."""
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    # The server takes each piece at once, and then waits with the next until there is room.
    await send({"type": "http.response.body", "body": b""})
