"""What came of a step of the optimizer, of which the host reads two numbers when it needs them."""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from training.data.batch import Batch
from training.step.step import StepResult


class Outcome:
    """A step's loss and gradient, on the device until they are asked for.

    Args:
        step: Which, counted from 0.
        result: Of its last batch.
        batches: All that it saw.
        losses: Of each.
        norm: Of the gradient, before it was clipped.
    """

    def __init__(
        self,
        step: int,
        result: StepResult,
        batches: Sequence[Batch],
        losses: Sequence[Float[Tensor, ""]],
        norm: Float[Tensor, ""],
    ) -> None:
        self.step, self.result, self.batches = step, result, batches
        self._figures = torch.stack([*losses, norm])
        self._fetched: torch.Event | None = None

    def bad(self, highest: float) -> Float[Tensor, ""]:
        """Return 1 where loss or gradient is not finite or the loss is too high, else 0, without waiting."""
        loss = self._figures[:-1].mean()
        return (~(self._figures.isfinite().all() & (loss <= highest))).float()

    def fetch(self) -> None:
        """Begin to copy both numbers to the host; what asks for them later waits for these alone."""
        if self._figures.device.type == "cuda":
            self._figures = self._figures.to("cpu", non_blocking=True)
            self._fetched = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._fetched.record()

    @property
    def loss(self) -> float:
        """The mean over the batches."""
        losses = self._read[:-1]
        return sum(loss / len(losses) for loss in losses)

    @property
    def norm(self) -> float:
        """The gradient's length."""
        return self._read[-1]

    @cached_property
    def _read(self) -> list[float]:
        if self._fetched is not None:
            self._fetched.synchronize()
        return self._figures.tolist()
