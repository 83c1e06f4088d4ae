"""Whether an answer is right: decoded, of the photograph's exact size, and near what the Predictor says."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.rivals.photographs import Photograph
from model.checksums import file_sha256

STEPS_PER_UNIT = 256
FARTHEST = 65535 / STEPS_PER_UNIT
MEAN_ERROR = 0.02
"""The most that |depth - expected| / expected may be on average: what bfloat16 is allowed everywhere here."""
TAIL_ERROR = 0.15
"""Likewise its 99th percentile: a shifted, flipped or mixed-up map is far beyond it."""


class WrongAnswer(Exception):  # noqa: N818 - it is read as words
    """What is wrong with an answer."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a right answer is from the Predictor's."""

    mean: float
    """Of |depth - expected| / expected."""
    tail: float
    """Its 99th percentile."""


def expected_depth(photograph: Photograph, checkpoint: Path, folder: Path) -> np.ndarray:
    """Return the Predictor's depth of a photograph; kept in a folder, because torch takes its time."""
    kept = folder / f"{photograph.name}-{file_sha256(checkpoint)[:16]}.npy"
    if not kept.exists():
        from model.predictor import Predictor

        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(photograph.path).convert("RGB"))
        np.save(kept, Predictor.from_checkpoint(checkpoint).predict([pixels])[0])
    depth: np.ndarray = np.load(kept)
    return depth


def decode_answer(body: bytes, wanted: str, height: int, width: int) -> np.ndarray:
    """Return the depth that an answer holds.

    Raises:
        WrongAnswer: It is no such file, or not of this size.
    """
    if wanted == "float32":
        if len(body) != 4 * height * width:
            raise WrongAnswer(f"{len(body)} bytes; expected {4 * height * width} of {width}x{height} float32")
        return np.frombuffer(body, "<f4").reshape(height, width)
    steps = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED) if body else None
    if steps is None or steps.dtype != np.uint16 or steps.shape != (height, width):
        found = "no image" if steps is None else f"{steps.dtype} of the shape {steps.shape}"
        raise WrongAnswer(f"{found}; expected uint16 of the shape {(height, width)}")
    if not steps.all():
        raise WrongAnswer("some pixels are 0, which means that there is no depth")
    depth: np.ndarray = steps.astype(np.float32) / STEPS_PER_UNIT
    return depth


def compare(depth: np.ndarray, expected: np.ndarray, wanted: str) -> Agreement:
    """Compare depth with what it should be.

    Raises:
        WrongAnswer: It is too far away.
    """
    if wanted == "png16":
        expected = np.minimum(expected, FARTHEST)
    error = np.abs(depth - expected) / expected
    agreement = Agreement(mean=float(error.mean()), tail=float(np.quantile(error, 0.99)))
    if not (agreement.mean <= MEAN_ERROR and agreement.tail <= TAIL_ERROR):
        raise WrongAnswer(
            f"errs by {agreement.mean:.1%} on average and {agreement.tail:.1%} in the 99th percentile; "
            f"expected {MEAN_ERROR:.0%} and {TAIL_ERROR:.0%} at most"
        )
    return agreement
