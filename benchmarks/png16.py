"""How fast depth becomes a 16-bit PNG or JPEG XL, by us and by others, and whether it comes back exactly.

    python benchmarks/png16.py [--output benchmarks/png16.md]

One thread each; the encoders take turns, and each one's median counts.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.machine import processor
from service.codec.encode import stored_values
from service.codec.png import encode_png
from service.contract.formats import Format

HEIGHT, WIDTH = 375, 1242


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What one encoder did."""

    name: str
    median_s: float
    size_bytes: int
    exact: bool
    """Whether OpenCV and Pillow read the very pixels back."""


def street_depth(seed: int = 0) -> np.ndarray:
    """Draw depth as a network gives it of a street: a ground plane, boxes on it, and fine unevenness."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = 700 / np.maximum(rows - 170, 9)
    for _ in range(25):
        left, top = random.integers(0, WIDTH - 80), random.integers(60, 220)
        width, height = random.integers(30, 160), random.integers(40, 140)
        near = np.float32(random.uniform(5, 60))
        box = depth[top : top + height, left : left + width]
        np.minimum(box, near + 0.01 * columns[top : top + height, left : left + width] / 10, out=box)
    smooth = cv2.GaussianBlur(random.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 4)
    return np.ascontiguousarray(cv2.GaussianBlur(depth, (0, 0), 1.2) * (1 + 0.05 * smooth), np.float32)


def with_pillow(pixels: np.ndarray, level: int) -> bytes:
    """Encode as Pillow does."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    return file.getvalue()


def with_opencv(pixels: np.ndarray) -> bytes:
    """Encode as OpenCV does, at its quickest."""
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def with_jpeg_xl(pixels: np.ndarray) -> bytes:
    """Encode as the service does."""
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, numthreads=1))


def measure(rounds: int) -> list[Encoded]:
    """Measure every encoder on the same depth map."""
    pixels = stored_values(street_depth(), Format.PNG16)
    encoders: dict[str, Callable[[], bytes]] = {
        "ours": lambda: encode_png(pixels),
        "JPEG XL, as `format=jxl`": lambda: with_jpeg_xl(pixels),
        "OpenCV, level 1": lambda: with_opencv(pixels),
        "Pillow, level 1": lambda: with_pillow(pixels, 1),
        "Pillow, level 6": lambda: with_pillow(pixels, 6),
    }
    times: dict[str, list[float]] = {name: [] for name in encoders}
    files = {name: encode() for name, encode in encoders.items()}
    for _ in range(rounds):
        for name, encode in encoders.items():
            began_s = time.perf_counter()
            encode()
            times[name].append(time.perf_counter() - began_s)
    return [
        Encoded(
            name=name,
            median_s=statistics.median(times[name]),
            size_bytes=len(file),
            exact=_reads_back(file, pixels),
        )
        for name, file in files.items()
    ]


def _reads_back(file: bytes, pixels: np.ndarray) -> bool:
    if not file.startswith(b"\x89PNG"):
        return bool(np.array_equal(imagecodecs.jpegxl_decode(file), pixels))
    opencv = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    pillow = np.asarray(Image.open(io.BytesIO(file)))
    return bool(np.array_equal(opencv, pixels) and np.array_equal(pillow, pixels))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    ours = next(one for one in found if one.name == "ours")
    lines = [
        f"Depth of a drawn street, {WIDTH}x{HEIGHT}, uint16, one thread each: `python benchmarks/png16.py`.",
        f"{processor()}, {date.today()}, median of {arguments.rounds}.",
        "",
        "| encoder | median ms | times our PNG | kB | bit-exact |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.name} | {one.median_s * 1e3:.1f} | {one.median_s / ours.median_s:.1f} |"
        f" {one.size_bytes / 1e3:.0f} | {'yes' if one.exact else 'no'} |"
        for one in found
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output is not None:
        arguments.output.write_text("# Depth into 16-bit files\n\n" + text)


if __name__ == "__main__":
    main()
