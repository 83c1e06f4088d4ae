"""What every rival does with a photograph: decode, predict, encode, as an experienced user would write it.

Three arms. `eager`: torch as its tutorials have it, and OpenCV for the files. `openvino`: our exported
network instead of torch, and still OpenCV. `shared`: our network and our codecs too, so that only the
server differs.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.metadata import read_metadata
from service.backends import BackendOptions, open_backend
from service.codec import decode_image, encode_depth
from service.codec.encode import EncodeOptions
from service.contract.request import Format

CHECKPOINT = Path(__file__).parents[3] / "model" / "pretrained" / "student.safetensors"
ARM = os.environ.get("RIVAL_ARM", "openvino")
WORKERS = int(os.environ.get("RIVAL_WORKERS", "2"))
BATCH = int(os.environ.get("RIVAL_BATCH", "4"))
PORT = int(os.environ.get("RIVAL_PORT", "8000"))
THREADS = max(1, len(os.sched_getaffinity(0)) // WORKERS)
"""Of each worker: all cores in all, so that workers do not fight over them."""


@dataclass(frozen=True)
class Photograph:
    """A photograph at the network's size, and what its caller wants back."""

    pixels: np.ndarray
    height: int
    width: int
    format: str


class Work:
    """One worker's network and codecs."""

    def __init__(self, arm: str = ARM, threads: int = THREADS) -> None:
        cv2.setNumThreads(1)
        metadata = read_metadata(CHECKPOINT)
        self._size = metadata.config.height, metadata.config.width
        self._scale = np.float32(metadata.scale.factor)
        self._unit = metadata.scale.unit
        self._shared = arm == "shared"
        if arm == "eager":
            self._predict = _eager(threads)
        else:
            self._predict = open_backend("openvino", CHECKPOINT, BackendOptions(threads=threads)).predict
        for size in sorted({1, 2, BATCH}):
            self._predict(np.zeros((size, *self._size, 3), np.uint8))

    def decode(self, body: bytes, wanted: str = "png16") -> Photograph:
        """Return a JPEG at the network's size, in RGB."""
        height, width = self._size
        if self._shared:
            image = decode_image(body, height=height, width=width, max_pixels=2**25)
            return Photograph(image.pixels, image.height, image.width, wanted)
        photograph = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        if photograph is None:
            raise ValueError("the body is no image")
        pixels = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
        height, width = photograph.shape[:2]
        return Photograph(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), height, width, wanted)

    def predict_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Return the disparity of a batch of photographs at the network's size."""
        return self._predict(pixels)

    def predict(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Return the disparity of each, all in one batch."""
        return list(self._predict(np.stack([each.pixels for each in photographs])))

    def encode(self, photograph: Photograph, disparity: np.ndarray) -> bytes:
        """Return depth at the photograph's own size: PNG with 256 steps a metre, or raw float32."""
        resized = cv2.resize(disparity, (photograph.width, photograph.height), interpolation=cv2.INTER_LINEAR)
        depth = np.divide(self._scale, resized, out=resized)
        if self._shared:
            return encode_depth(depth, Format(photograph.format), EncodeOptions(unit=self._unit))
        if photograph.format == "float32":
            return depth.tobytes()
        steps = np.clip(depth * 256 + 0.5, 1, 65535).astype(np.uint16)
        return cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()

    def answer(self, bodies: Sequence[bytes], formats: Sequence[str]) -> list[bytes]:
        """Do all of it for a batch."""
        photographs = [self.decode(*each) for each in zip(bodies, formats, strict=True)]
        return [self.encode(*each) for each in zip(photographs, self.predict(photographs), strict=True)]


def _eager(threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from model.checkpoint import load_checkpoint

    torch.set_num_threads(threads)
    network = load_checkpoint(CHECKPOINT)[0].deployed()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
            return network(batch).numpy()

    return predict
