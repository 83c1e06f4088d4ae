"""``POST /v1/depth``, ``/v1/depth/batch`` and ``/v1/distances``: images in, depth out.

Plain ASGI: a request passes through no layer that it does not need.
"""

import asyncio
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from service.contract.answer import DepthAnswer
from service.contract.options import DistanceOptions
from service.contract.request import DepthRequest
from service.rest.answers import answer_headers, distances_answer, send_answer
from service.rest.body import unless_gone
from service.rest.errors import TRANSPORT, Headers, answer_of, error_body
from service.rest.multipart import write_mixed
from service.rest.upload import read_upload
from service.scheduling.budget import Share
from service.telemetry.calls import one_call
from service.telemetry.logs import current_request_id
from service.transports.auth import current_caller
from service.transports.frontend import Frontend


class DepthEndpoint:
    """Answers one image."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer; give up when the client does."""
        current_caller.get().charge(1)
        with self._frontend.answer_share(TRANSPORT) as held:
            with self._frontend.body_share(TRANSPORT) as share:
                upload = await read_upload(self._frontend, scope, receive, share, max_images=1)
                request = DepthRequest(
                    image=upload.images[0],
                    deadline_s=upload.deadline_s,
                    request_id=current_request_id.get() or "",
                    transport=TRANSPORT,
                    **upload.fields(0),
                )
                answer = await unless_gone(receive, self._frontend.answer(request, held))
            await send_answer(send, answer_headers(answer), answer.body)


class DistancesEndpoint:
    """Answers distances to places in one image."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer with JSON; give up when the client does."""
        current_caller.get().charge(1)
        with self._frontend.answer_share(TRANSPORT) as held:
            with self._frontend.body_share(TRANSPORT) as share:
                upload = await read_upload(
                    self._frontend, scope, receive, share, max_images=1, asked=DistanceOptions
                )
                request = DepthRequest(
                    image=upload.images[0],
                    deadline_s=upload.deadline_s,
                    request_id=current_request_id.get() or "",
                    transport=TRANSPORT,
                    **upload.fields(0),
                )
                answer = await unless_gone(receive, self._frontend.answer(request, held))
            await send_answer(send, *distances_answer(answer))


class BatchEndpoint:
    """Answers several images, each with a part of its own: a depth map, or what was wrong with it."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine for all at once, answer in the same order."""
        with self._frontend.answer_share(TRANSPORT) as held:
            with self._frontend.body_share(TRANSPORT) as share:
                requests = await self._read(scope, receive, share)
                parts = await unless_gone(receive, self._answer_all(requests, held))
            content_type, chunks = write_mixed(parts)
            length = sum(map(len, chunks))
            headers = [(b"content-type", content_type), (b"content-length", str(length).encode())]
            await send_answer(send, headers, *chunks)

    async def _read(self, scope: Scope, receive: Receive, share: Share) -> Sequence[DepthRequest]:
        max_images = self._frontend.settings.max_images_per_call
        upload = await read_upload(self._frontend, scope, receive, share, max_images=max_images)
        current_caller.get().charge(len(upload.images))
        request_id = current_request_id.get() or ""
        return [
            DepthRequest(
                image=image,
                deadline_s=upload.deadline_s,
                request_id=f"{request_id}/{place}",
                transport=TRANSPORT,
                **upload.fields(place),
            )
            for place, image in enumerate(upload.images)
        ]

    async def _answer_all(self, requests: Sequence[DepthRequest], held: Share) -> list[tuple[Headers, bytes]]:
        with one_call(self._frontend.metrics):
            answers = await asyncio.gather(
                *(self._frontend.answer(request, held) for request in requests), return_exceptions=True
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
