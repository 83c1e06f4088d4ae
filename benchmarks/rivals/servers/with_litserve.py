"""The service in LitServe: several workers, each with batches of its own."""

from typing import Annotated

import litserve
from fastapi import Body, Response
from work import BATCH, PORT, WORKERS, Photograph, Work


class Depth(litserve.LitAPI):
    """Decode, predict and encode in each worker."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.work = Work()

    def decode_request(self, request: Annotated[bytes, Body()]) -> Photograph:
        """Read `png16` or `float32`, a zero byte, and a JPEG."""
        wanted, _, body = request.partition(b"\0")
        return self.work.decode(body, wanted.decode())

    def batch(self, inputs: list[Photograph]) -> list[Photograph]:
        """Leave stacking to the network."""
        return inputs

    def predict(self, x: list[Photograph]) -> list[tuple]:
        """Handle a batch."""
        return list(zip(x, self.work.predict(x), strict=True))

    def unbatch(self, output: list[tuple]) -> list[tuple]:
        """Leave the batch as it is."""
        return output

    def encode_response(self, output: tuple) -> Response:
        """Handle raw bytes."""
        return Response(self.work.encode(*output), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Depth(max_batch_size=BATCH, batch_timeout=0.001),
        accelerator="cpu",
        devices=1,
        workers_per_device=WORKERS,
        fast_queue=True,
    )
    server.run(port=PORT, generate_client_file=False, log_level="warning", num_api_servers=1)
