"""The service in BentoML: an ingress that decodes and encodes, before a network that batches adaptively."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import bentoml
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from work import BATCH, WORKERS, Work

SPLIT = os.environ.get("RIVAL_SPLIT", "0") == "1"


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 256})
class Network:
    """The network in a process of its own."""

    def __init__(self) -> None:
        self.work = Work(threads=os.cpu_count() or 1)

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=10_000)
    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Handle a batch."""
        return self.work.predict_pixels(pixels)


async def depth(request: Request) -> Response:
    """Handle one request."""
    return Response(
        await bentoml.get_current_service().answer(await request.body(), request.query_params["format"]),
        media_type="application/octet-stream",
    )


app = Starlette(routes=[Route("/depth", depth, methods=["POST"])])


@bentoml.service(workers=WORKERS, traffic={"timeout": 60, "max_concurrency": 256})
@bentoml.asgi_app(app, path="/v1")
class Depth:
    """What clients talk to."""

    if SPLIT:
        network = bentoml.depends(Network)

    def __init__(self) -> None:
        self.work = Work()
        # A network answers one thread at a time.
        self.thread = ThreadPoolExecutor(1)

    async def answer(self, body: bytes, wanted: str) -> bytes:
        """Handle one request."""
        run = partial(asyncio.get_running_loop().run_in_executor, self.thread)
        if not SPLIT:
            return (await run(self.work.answer, [body], [wanted]))[0]
        photograph = await run(self.work.decode, body, wanted)
        disparity = (await self.network.to_async.predict(photograph.pixels[None]))[0]
        return await run(self.work.encode, photograph, disparity)
