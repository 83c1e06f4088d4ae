"""A backend whose answer is the green of the image, and which hangs and fails when a test says so."""

import threading
from pathlib import Path

import numpy as np

from service.backends import BackendError, BackendOptions

SIZE = (64, 96)
"""Of the tiny preset's images."""
POISON = 13
"""A green that it cannot bear."""


class GreenBackend:
    """Answers disparity (1 + green) / 256, pixel by pixel, so that a mixed-up answer shows."""

    description = "green"
    height, width = SIZE
    max_batch = 4
    padded = False

    def __init__(self, factory: "GreenFactory") -> None:
        self._factory = factory
        self.lanes = factory.lanes

    def predict(self, images: np.ndarray) -> np.ndarray:
        self._factory.batches.append(len(images))
        self._factory.entered.set()
        if self._factory.together is not None:
            self._factory.together.wait(30)
        assert self._factory.gate.wait(30)
        if self._factory.failing or (images[..., 1] == POISON).any():
            raise ValueError("poison")
        return (images[..., 1].astype(np.float32) + 1) / 256

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self._factory.closed += 1


class GreenFactory:
    """Opens green backends, and holds what they share.

    Clear ``gate`` to make them hang; set ``failing`` to have every batch fail, ``error`` to have none opened,
    ``together`` to have batches wait for each other.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failing = False
        self.lanes = 1
        self.together: threading.Barrier | None = None
        self.error: Exception | None = None
        self.refused = threading.Event()
        self.opened: list[Path] = []
        self.closed = 0
        self.batches: list[int] = []

    def open(self, kind: str, checkpoint: Path, options: BackendOptions) -> GreenBackend:
        self.opened.append(checkpoint)
        if self.error is not None:
            self.refused.set()
            raise self.error
        return GreenBackend(self)

    def build(self) -> GreenBackend:
        """Open one for no checkpoint in particular."""
        return self.open("green", Path(), BackendOptions())

    def break_down(self) -> None:
        """Let no backend be opened any more."""
        self.error = BackendError("broken")
