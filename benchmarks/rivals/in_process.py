"""The in-process pipeline: decode, predict and encode on every core, and no server at all.

    python -m benchmarks.rivals.in_process PHOTO ...

A process on every core does what our service does for a request, one stage after another, with one thread
and nothing between: no socket, no queue, no event loop, no other thread. What each stage costs in processor
time, while all cores are busy, gives its rate: cores / (decode + predict + encode). It is one arrangement of
several, and a server with another one may pass it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from benchmarks.rivals.environments import ROOT
from model.images import disparity_to_depth_map
from model.metadata import read_metadata
from service.backends import BackendOptions, open_backend
from service.codec import decode_image, encode_depth, held_range
from service.codec.encode import EncodeOptions
from service.codec.memory import keep_freed_memory
from service.contract.request import Format

CHECKPOINT = ROOT / "model" / "pretrained" / "student.safetensors"


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """What a request costs at least, in seconds of one core."""

    decode_s: float
    predict_s: float
    """One image of a batch of the best size."""
    encode_s: float
    batch: int
    """The best size."""
    cores: int

    @property
    def per_second(self) -> float:
        """How many it answers."""
        return self.beside(0.0)

    def beside(self, client_s: float) -> float:
        """Return the rate beside a client that takes so many seconds of a core for each answer."""
        return self.cores / (self.decode_s + self.predict_s + self.encode_s + client_s)


def middle(rounds: Sequence[InProcess]) -> InProcess:
    """Return the median of each stage over rounds."""
    return InProcess(
        decode_s=median(each.decode_s for each in rounds),
        predict_s=median(each.predict_s for each in rounds),
        encode_s=median(each.encode_s for each in rounds),
        batch=rounds[-1].batch,
        cores=rounds[-1].cores,
    )


def cores() -> int:
    """Return how many processors may be used."""
    return len(os.sched_getaffinity(0))


def measure_in_process(images: Sequence[Path], wanted: str, seconds: float) -> InProcess:
    """Measure the stages on all cores at once, for a mix of photographs.

    Raises:
        RuntimeError: A process failed.
    """
    command = [sys.executable, "-m", "benchmarks.rivals.in_process", *map(str, images)]
    command += ["--format", wanted, "--seconds", str(seconds)]
    # Together: a core alone has more of the caches, of the memory and of the clock than cores in company.
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(cores())]
    told = [json.loads(process.communicate()[0]) for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("a process that measures the pipeline failed")

    def mean(name: str) -> float:
        return sum(each[name] for each in told) / len(told)

    predict_s = {
        size: float(np.mean([each["predict_s"][size] for each in told])) for size in told[0]["predict_s"]
    }
    best = min(predict_s, key=lambda size: predict_s[size])
    return InProcess(
        decode_s=mean("decode_s"),
        predict_s=predict_s[best],
        encode_s=mean("encode_s"),
        batch=int(best),
        cores=cores(),
    )


def stages(images: Sequence[bytes], wanted: Format, seconds: float) -> dict[str, Any]:
    """Return the processor seconds of each stage for one image, in this process."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    metadata = read_metadata(CHECKPOINT)
    height, width = metadata.config.height, metadata.config.width
    backend = open_backend("openvino", CHECKPOINT, BackendOptions(threads=1))
    spent = dict.fromkeys(("decode_s", "encode_s"), 0.0)
    predict_s = dict.fromkeys((1, 2, 4), 0.0)
    decoded = [decode_image(image, height=height, width=width, max_pixels=2**25) for image in images]
    rounds = 0
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        rounds += 1
        disparities = []
        for image in images:
            began_s = time.process_time()
            decode_image(image, height=height, width=width, max_pixels=2**25)
            spent["decode_s"] += time.process_time() - began_s
        for size in predict_s:
            batch = np.stack([decoded[place % len(decoded)].pixels for place in range(size)])
            began_s = time.process_time()
            disparities = list(backend.predict(batch))
            predict_s[size] += (time.process_time() - began_s) / size
        for image in decoded:
            began_s = time.process_time()
            depth = disparity_to_depth_map(disparities[0], image.height, image.width, metadata.scale.factor)
            encode_depth(depth, wanted, EncodeOptions(unit=metadata.scale.unit))
            held_range(depth, wanted)
            spent["encode_s"] += time.process_time() - began_s
    each = {name: value / rounds / len(images) for name, value in spent.items()}
    return {**each, "predict_s": {size: value / rounds for size, value in predict_s.items()}}


def main() -> None:
    """Measure in this process and print JSON."""
    arguments = sys.argv[1:]
    place = arguments.index("--format")
    images = [Path(path).read_bytes() for path in arguments[:place]]
    print(json.dumps(stages(images, Format(arguments[place + 1]), float(arguments[place + 3]))))


if __name__ == "__main__":
    main()
