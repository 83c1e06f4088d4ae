"""The service in mosec: workers that batch, each decoding, predicting and encoding what it takes."""

from mosec import Server, Worker
from work import BATCH, WORKERS, Work


class Depth(Worker):
    """One process with its own network."""

    resp_mime_type = "image/png"

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def deserialize(self, data: bytes) -> tuple[str, bytes]:
        """Take a body as it is: `png16` or `float32`, a zero byte, and a JPEG."""
        wanted, _, body = data.partition(b"\0")
        return wanted.decode(), body

    def forward(self, data: list[tuple[str, bytes]]) -> list[bytes]:
        """Handle a batch."""
        return self.work.answer([body for _, body in data], [wanted for wanted, _ in data])

    def serialize(self, data: bytes) -> bytes:
        """Handle bytes as they are."""
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Depth, num=WORKERS, max_batch_size=BATCH, max_wait_time=0)
    server.run()
