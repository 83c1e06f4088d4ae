"""The service in Ray Serve: replicas that batch."""

import os

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response
from work import BATCH, PORT, WORKERS, Work


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Depth:
    """One replica with its own network."""

    def __init__(self) -> None:
        self.work = Work()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.001)
    async def answer(self, bodies: list[bytes], formats: list[str]) -> list[bytes]:
        """Handle a batch."""
        return self.work.answer(bodies, formats)

    async def __call__(self, request: Request) -> Response:
        """Handle one request."""
        body = await self.answer(await request.body(), request.query_params["format"])
        return Response(body, media_type="application/octet-stream")


if __name__ == "__main__":
    # Its own cluster, whatever else runs on the machine.
    ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Depth.bind(), blocking=True)
