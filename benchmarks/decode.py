"""How long a photograph takes to become pixels of the network's size, by our decoder and by others.

    python benchmarks/decode.py

One thread each; the decoders take turns, and each one's median counts. Ours checks the header, turns the
image upright and, where a JPEG is at least twice as large as the network's images, decodes it at a fraction.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from service.codec import decode_image

HEIGHT, WIDTH = 192, 640
SIZES = ((375, 1242), (1080, 1920), (2160, 3840))
_MAX_PIXELS = 1 << 25


def photograph(height: int, width: int, kind: str, seed: int = 0) -> bytes:
    """Draw something with the detail of a street scene, as a file."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64, 256):
        grid = random.uniform(0, 256 / cells**0.5, (cells, cells * 3, 3)).astype(np.float32)
        pixels += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    scaled = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())
    file = io.BytesIO()
    Image.fromarray(scaled.astype(np.uint8)).save(file, kind, quality=90)
    return file.getvalue()


def with_pillow(data: bytes) -> np.ndarray:
    """Decode and resize with Pillow, in the DCT domain where it can."""
    with Image.open(io.BytesIO(data)) as file:
        file.draft("RGB", (WIDTH, HEIGHT))
        return np.asarray(file.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def with_opencv(data: bytes) -> np.ndarray:
    """Decode and resize with OpenCV."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def ours(data: bytes, *, scaled: bool) -> np.ndarray:
    """Decode as the service does."""
    image = decode_image(data, height=HEIGHT, width=WIDTH, max_pixels=_MAX_PIXELS, scaled=scaled)
    return image.pixels


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    decoders: dict[str, Callable[[bytes], np.ndarray]] = {
        "ours": lambda data: ours(data, scaled=True),
        "ours, never scaled": lambda data: ours(data, scaled=False),
        "OpenCV": with_opencv,
        "Pillow": with_pillow,
    }
    print(f"to {WIDTH}x{HEIGHT}, median ms\n\n| image | kB | " + " | ".join(decoders) + " |")
    print("| --- " * (2 + len(decoders)) + "|")
    for height, width in SIZES:
        for kind in ("JPEG", "PNG", "WEBP"):
            data = photograph(height, width, kind)
            times: dict[str, list[float]] = {name: [] for name in decoders}
            for _ in range(rounds):
                for name, decode in decoders.items():
                    began_s = time.perf_counter()
                    decode(data)
                    times[name].append(time.perf_counter() - began_s)
            cells = " | ".join(f"{statistics.median(taken) * 1e3:.1f}" for taken in times.values())
            print(f"| {width}x{height} {kind} | {len(data) / 1e3:.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
