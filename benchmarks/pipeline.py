"""The service's own decode, predict and encode, called in-process: what transports are compared with."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from model.images import disparity_to_depth_map
from service.backends import Backend, BackendOptions, open_backend
from service.backends.choose import cores
from service.codec import decode_image, encode_depth
from service.codec.encode import EncodeOptions
from service.contract.request import Format

MAX_PIXELS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many photographs went through."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Photographs a second."""
        return self.count / self.seconds


def through(backend: Backend, photograph: bytes, turn: AbstractContextManager[object]) -> bytes:
    """Take one photograph through: bytes to image, disparity (when it is its turn), depth, PNG16."""
    image = decode_image(photograph, height=backend.height, width=backend.width, max_pixels=MAX_PIXELS)
    with turn:
        disparity = backend.predict(image.pixels[None])[0]
    depth = disparity_to_depth_map(disparity, image.height, image.width, 1.0)
    return encode_depth(depth, Format.PNG16, EncodeOptions(unit="relative"))


class Pipeline:
    """The pipeline in the two arrangements that use every core.

    Args:
        checkpoint: The network.
        cache_dir: Where its export is kept.
    """

    def __init__(self, checkpoint: Path, cache_dir: Path | None) -> None:
        def opened(threads: int) -> Backend:
            options = BackendOptions(threads=threads, cache_dir=cache_dir)
            return open_backend("openvino", checkpoint, options)

        self._cores = cores()
        self._wide = opened(self._cores)
        self._narrow = [opened(1) for _ in range(self._cores)]

    def lone(self, photographs: list[bytes]) -> list[float]:
        """Return the seconds of each photograph, one after the other, each with all cores for its network."""
        times = []
        for photograph in photographs:
            began_s = time.perf_counter()
            through(self._wide, photograph, nullcontext())
            times.append(time.perf_counter() - began_s)
        return times

    def saturated(self, photographs: list[bytes], seconds: float, arrangement: str) -> Rate:
        """Keep every core busy for so long.

        Args:
            photographs: Taken in turn.
            seconds: How long.
            arrangement: `narrow`: each thread has a network of one thread; `wide`: all threads share one
                network that computes on all cores.
        """
        lock = threading.Lock()
        began_s = time.perf_counter()
        ends_s = began_s + seconds

        def work(number: int) -> int:
            done = 0
            while time.perf_counter() < ends_s:
                photograph = photographs[(done * workers + number) % len(photographs)]
                if arrangement == "narrow":
                    through(self._narrow[number], photograph, nullcontext())
                else:
                    through(self._wide, photograph, lock)
                done += 1
            return done

        # One more than cores where they share a network: somebody decodes while it computes.
        workers = self._cores + (arrangement == "wide")
        with ThreadPoolExecutor(workers) as pool:
            count = sum(pool.map(work, range(workers)))
        return Rate(count=count, seconds=time.perf_counter() - began_s)


class PipelineProcess:
    """A pipeline in a process of its own, which does one thing when it is asked and otherwise nothing.

    Use it as ``with``.

    Args:
        checkpoint: The network.
        cache_dir: Where its export is kept.
        photographs: What goes through.
    """

    def __init__(self, checkpoint: Path, cache_dir: Path | None, photographs: list[bytes]) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        arguments = (theirs, checkpoint, cache_dir, photographs)
        self._process = context.Process(target=_obey, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ours.send(None)
        self._process.join(10)

    def lone(self, count: int) -> list[float]:
        """See `Pipeline.lone`."""
        self._ours.send(("lone", count, ""))
        times: list[float] = self._ours.recv()
        return times

    def saturated(self, seconds: float, arrangement: str) -> Rate:
        """See `Pipeline.saturated`."""
        self._ours.send(("saturated", seconds, arrangement))
        rate: Rate = self._ours.recv()
        return rate


def _obey(told: Connection, checkpoint: Path, cache_dir: Path | None, photographs: list[bytes]) -> None:
    pipeline = Pipeline(checkpoint, cache_dir)
    while (asked := told.recv()) is not None:
        what, amount, arrangement = asked
        if what == "lone":
            told.send(pipeline.lone([photographs[n % len(photographs)] for n in range(amount)]))
        else:
            told.send(pipeline.saturated(photographs, amount, arrangement))
