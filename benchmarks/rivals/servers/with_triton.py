"""The service in Triton Inference Server 2.51, by way of PyTriton: instances behind the dynamic batcher.

Photographs and answers are BYTES tensors, of which Triton can batch any sizes.
"""

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from work import BATCH, PORT, WORKERS, Work


class Depth:
    """One instance with its own network."""

    def __init__(self) -> None:
        self.work = Work()

    @batch
    def __call__(self, image: np.ndarray, format: np.ndarray) -> dict[str, np.ndarray]:  # noqa: A002
        """Handle a batch."""
        answers = self.work.answer([each[0] for each in image], [each[0].decode() for each in format])
        return {"depth": np.array([[each] for each in answers], dtype=object)}


if __name__ == "__main__":
    config = TritonConfig(http_port=PORT, allow_grpc=False, allow_metrics=False, http_thread_count=8)
    with Triton(config=config) as triton:
        triton.bind(
            "depth",
            [Depth() for _ in range(WORKERS)],
            inputs=[
                Tensor(name="image", dtype=bytes, shape=(1,)),
                Tensor(name="format", dtype=bytes, shape=(1,)),
            ],
            outputs=[Tensor(name="depth", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
