"""``POST /v1/depth`` and ``POST /v1/depth/batch``: images in, depth maps out.

It does not know models or codecs. Plain ASGI: a request passes through no layer that it does not need.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from service.answer import DepthAnswer
from service.auth import current_caller
from service.budget import Share
from service.doors import Doors
from service.errors import InvalidArgument
from service.logs import current_request_id
from service.request import DepthRequest
from service.rest.answers import answer_headers, send_answer
from service.rest.body import read_body, unless_gone
from service.rest.errors import DOOR, Headers, UnsupportedMediaType, answer_of, error_body
from service.rest.multipart import parse_form, write_mixed
from service.rest.options import Pairs, depth_options, query_pairs, read_number

IMAGE_PART = "image"
"""The name of a form's parts that are images; every other part is an option, as in the query."""
_FORM = "multipart/form-data"
_RAW = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")
"""What a body of bare image bytes may call itself; the last is what curl calls everything."""
_WANTED = frozenset((b"accept", b"content-type", b"content-length", b"x-request-deadline-ms"))
_MAX_OPTIONS = 32
_MAX_OPTION_BYTES = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class _Upload:
    """What a request brought."""

    images: Sequence[bytes]
    pairs: Pairs
    accept: str
    deadline_s: float


class DepthEndpoint:
    """Answers one image."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer; give up when the client does."""
        current_caller.get().charge(1)
        with self._doors.answers.share(DOOR) as held:
            with self._doors.budget.share(DOOR) as share:
                upload = await _read_upload(self._doors, scope, receive, share, max_images=1)
                request = DepthRequest(
                    image=upload.images[0],
                    deadline_s=upload.deadline_s,
                    request_id=current_request_id.get() or "",
                    door=DOOR,
                    **depth_options(upload.pairs, upload.accept),
                )
                answer = await unless_gone(receive, self._doors.answer(request, held))
            await send_answer(send, answer_headers(answer), answer.body)


class BatchEndpoint:
    """Answers several images, each with a part of its own: a depth map, or what was wrong with it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine for all at once, answer in the same order."""
        with self._doors.answers.share(DOOR) as held:
            with self._doors.budget.share(DOOR) as share:
                requests = await self._read(scope, receive, share)
                parts = await unless_gone(receive, self._answer_all(requests, held))
            content_type, chunks = write_mixed(parts)
            length = sum(map(len, chunks))
            headers = [(b"content-type", content_type), (b"content-length", str(length).encode())]
            await send_answer(send, headers, *chunks)

    async def _read(self, scope: Scope, receive: Receive, share: Share) -> Sequence[DepthRequest]:
        max_images = self._doors.settings.max_images_per_call
        upload = await _read_upload(self._doors, scope, receive, share, max_images=max_images)
        current_caller.get().charge(len(upload.images))
        options = depth_options(upload.pairs)
        request_id = current_request_id.get() or ""
        return [
            DepthRequest(
                image=image,
                deadline_s=upload.deadline_s,
                request_id=f"{request_id}/{place}",
                door=DOOR,
                **options,
            )
            for place, image in enumerate(upload.images)
        ]

    async def _answer_all(self, requests: Sequence[DepthRequest], held: Share) -> list[tuple[Headers, bytes]]:
        answers = await asyncio.gather(
            *(self._doors.answer(request, held) for request in requests), return_exceptions=True
        )
        return [_part(request, answer) for request, answer in zip(requests, answers, strict=True)]


def _part(request: DepthRequest, answer: DepthAnswer | BaseException) -> tuple[Headers, bytes]:
    if isinstance(answer, DepthAnswer):
        headers: Headers = [(b"x-depth-status", b"200"), *answer_headers(answer)]
        return [*headers, (b"x-request-id", request.request_id.encode())], answer.body
    if not isinstance(answer, Exception):
        raise answer
    told = answer_of(answer)
    body = error_body(told.code, told.message, request.request_id)
    headers = [
        (b"x-depth-status", str(int(told.status)).encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request.request_id.encode()),
        *told.headers,
    ]
    return headers, body


async def _read_upload(
    doors: Doors, scope: Scope, receive: Receive, share: Share, *, max_images: int
) -> _Upload:
    said = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
    remaining_ms = read_number(said.get(b"x-request-deadline-ms"), "X-Request-Deadline-Ms")
    deadline_s = doors.deadline_s(None if remaining_ms is None else remaining_ms / 1e3)
    content_type = said.get(b"content-type", "")
    is_form = content_type.lower().startswith(_FORM)
    if not is_form and (max_images > 1 or (content_type and not content_type.startswith(_RAW))):
        expected = _FORM if max_images > 1 else f"image/*, application/octet-stream or {_FORM}"
        raise UnsupportedMediaType(f"the body's type is {content_type[:80]!r}; expected {expected}")
    body = await read_body(
        receive,
        said.get(b"content-length"),
        share,
        max_bytes=doors.settings.max_body_bytes,
        # Nobody waits for an upload that can no longer be answered in time.
        timeout_s=min(doors.settings.body_timeout_s, deadline_s - time.monotonic()),
    )
    pairs = query_pairs(scope["query_string"])
    images: list[bytes] = [body]
    if is_form:
        images = []
        for part in parse_form(body, content_type, max_parts=max_images + _MAX_OPTIONS):
            if part.name == IMAGE_PART or part.filename is not None:
                images.append(part.data)
            elif len(part.data) > _MAX_OPTION_BYTES:
                raise InvalidArgument(f"the option {part.name[:40]!r} has {len(part.data)} bytes")
            else:
                pairs += ((part.name, part.data.decode(errors="replace")),)
    if not 1 <= len(images) <= max_images:
        raise InvalidArgument(f"the form has {len(images)} images; expected 1 to {max_images}")
    if not all(images):
        raise InvalidArgument("an image is empty; expected the bytes of a JPEG, PNG or WebP file")
    return _Upload(images=images, pairs=pairs, accept=said.get(b"accept", ""), deadline_s=deadline_s)
