"""One version of a model as it is served: its devices, its queue, and what it has done."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.described import DescribedNetwork, DescriptionError, network_sha256, view_of
from model.metadata import CheckpointError, contents_sha256
from model.view import View
from service.backends import Backend, BackendError, BackendOptions, Placement, open_backend
from service.contract.answer import ModelInfo, ModelState, ModelStatistics
from service.models.discovery import CheckpointFile
from service.scheduling.batching import Batcher, BatchOptions
from service.scheduling.clock import Clock
from service.scheduling.cost import Cost
from service.scheduling.worker import DeviceThread, Worker
from service.settings import Settings
from service.telemetry.calls import Part
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_VERSION_DIGITS = 8
"""Of the hash of the contents in hex, where a file has no version of its own; written as a whole number,
which Triton's clients take every version for."""
_MEASUREMENTS = 3
"""Of each batch size at warm-up; the quickest counts."""

Image = np.ndarray
Output = Any
OpenBackend = Callable[[str, Path, BackendOptions], Backend]
"""Loads a checkpoint with the backend of a kind; blocks."""


class ServedModel:
    """A checkpoint on its devices, behind one queue.

    Args:
        file: Where the checkpoint lies.
        settings: How it is to be served.
        placement: Which backend on which devices.
        metrics: Where batches and restarts are counted.
        on_change: Called when its state has changed.
        clock: Measures it.
        opening: Makes backends; tests have their own.
    """

    def __init__(
        self,
        file: CheckpointFile,
        settings: Settings,
        placement: Placement,
        metrics: Metrics,
        on_change: Callable[[], None],
        clock: Clock,
        opening: OpenBackend = open_backend,
    ) -> None:
        self.name = file.name
        self.version = file.version or "?"
        self.file = file
        self.problem: str | None = None
        """What callers are told of why it could not be loaded."""
        self.cause: str | None = None
        """What the operator is told."""
        self._clock = clock
        self._settings, self._placement, self._metrics, self._on_change = (
            settings,
            placement,
            metrics,
            on_change,
        )
        self._opening = opening
        self._state: ModelState = "loading"
        self._view: View | None = None
        self._workers: list[Worker] = []
        self._batcher: Batcher[Image, Output] | None = None
        self._stack = AsyncExitStack()
        self._work = _Done()

    @property
    def state(self) -> ModelState:
        """What becomes of requests for it: only a `ready` model answers."""
        return self._state

    @property
    def view(self) -> View:
        """How it sees pictures, and what its outputs mean; once it is loaded."""
        if self._view is None:
            raise RuntimeError(f"{self.name} is not loaded yet")
        return self._view

    @property
    def batcher(self) -> Batcher[Image, Output]:
        """The queue; once it is loaded."""
        if self._batcher is None:
            raise RuntimeError(f"{self.name} is not loaded yet")
        return self._batcher

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which it sees images, in pixels; the usual ones where these vary."""
        return self.view.usual_size

    @property
    def waiting(self) -> int:
        """How many images wait for its devices, or are on their way to waiting."""
        return 0 if self._batcher is None else self._batcher.waiting

    @property
    def hung(self) -> int:
        """How many threads its backends never gave back."""
        return sum(worker.hung for worker in self._workers)

    @property
    def device_lost(self) -> bool:
        """Whether one of its devices is lost to this process."""
        return any(worker.device_lost for worker in self._workers)

    @property
    def lost(self) -> bool:
        """Whether it has no backend any more, and this process will not get it one."""
        return bool(self._workers) and all(worker.lost for worker in self._workers)

    async def open(self) -> None:
        """Load, warm up and measure; afterwards it is ready.

        Raises:
            BackendError: It cannot be loaded; nothing of it remains.
        """
        path = self.file.path
        reader = DeviceThread(f"reading {self.name}")
        try:
            self._view, sha256 = await reader.run(partial(_look, path, hashed=self.file.version is None))
            if sha256:
                self.version = str(int(sha256[:_VERSION_DIGITS], 16))
        except (CheckpointError, DescriptionError, OSError) as error:
            raise BackendError(str(error)) from error
        finally:
            reader.stop()
        try:
            await self._open_devices(path)
        except BaseException as error:  # whatever a library throws while it loads, other models serve on
            await self.close()
            if isinstance(error, BackendError) or not isinstance(error, Exception):
                raise
            raise BackendError(f"{path}: {type(error).__name__}: {error}") from error
        self._become("ready")

    async def _open_devices(self, path: Path) -> None:
        for number, device in enumerate(self._placement.devices):
            worker = Worker(
                f"{self.name} on {device}",
                partial(self._build, path, self._options(device)),
                hang_timeout_s=self._settings.hang_timeout_s,
                lost_after_s=self._settings.backend_lost_s,
                on_change=partial(self._worker_changed, number),
            )
            self._stack.push_async_callback(worker.close)
            await worker.start()
            self._workers.append(worker)
        curve_s = await self._measure(self._workers[0])
        backend = self._workers[0].backend
        cost = Cost(curve_s, stepwise=backend is not None and backend.padded)
        # Two at least: while one image is in the network others arrive, and each batch has a cost of its own.
        most = self._settings.max_batch or int(min(max(curve_s), max(2, cost.best_amount())))
        options = BatchOptions(
            max_batch=most, max_items=self._settings.queue_items, delay_s=self._settings.batch_delay_s
        )
        usual = self._blank().size

        def weight(image: Image) -> float:
            return image.size / usual

        lanes = [worker for worker in self._workers for _ in range(worker.lanes)]
        self._batcher = await self._stack.enter_async_context(
            Batcher(lanes, options, cost, self._clock, on_batch=self._batch_done, kind=_shape, weight=weight)
        )
        self._metrics.queue_limit.labels(self.name).set(options.max_items)
        self._metrics.batch_limit.labels(self.name).set(options.max_batch)
        for reason in ("hung", "failed"):  # a counter that is born at 1 has never increased, for Prometheus
            self._metrics.backend_restarts.labels(self.name, reason)
        milliseconds = ", ".join(f"{size}: {seconds * 1e3:.1f}" for size, seconds in curve_s.items())
        logger.info("%s %s is ready; ms by batch size: %s", self.name, self.version, milliseconds)

    def _build(self, path: Path, options: BackendOptions) -> Backend:
        """Open a backend on this very checkpoint: a file that took its place is another version."""
        self._check_unchanged()
        backend = self._opening(self._placement.backend, path, options)
        try:
            self._check_unchanged()
        except BackendError:
            backend.close()
            raise
        return backend

    def _check_unchanged(self) -> None:
        if not self.file.unchanged:
            raise BackendError(f"{self.file.path} is no longer version {self.version} of {self.name}")

    async def _measure(self, worker: Worker) -> dict[float, float]:
        backend = worker.backend
        if backend is None:
            raise BackendError(f"{self.name}: the backend was lost while it warmed up")
        most = self._settings.max_batch or backend.max_batch
        sizes = sorted({min(2**power, most) for power in range(most.bit_length() + 1)})
        curve_s: dict[float, float] = {}
        blank = self._blank()
        for size in sizes:
            images = [blank] * size
            seconds = []
            for _ in range(_MEASUREMENTS):
                began_s = self._clock.now()
                await worker.predict(images, self._settings.warm_up_timeout_s)
                seconds.append(self._clock.now() - began_s)
            curve_s[size] = min(seconds)
        return curve_s

    def _blank(self) -> Image:
        """Return the network's input for a black picture of the usual size."""
        return self.view.prepare(np.zeros((*self.size, 3), np.uint8))

    async def close(self) -> None:
        """Finish what was accepted, refuse the rest, and let the devices go."""
        if self._state != "failed":
            self._become("draining")
        await self._stack.aclose()

    def abandon(self) -> None:
        """Fail at once, with `NotReady`, whatever still waits."""
        if self._batcher is not None:
            self._batcher.abandon()

    def fail(self, cause: str) -> None:
        """Keep in mind why it could not be loaded; callers are not told of paths."""
        self.cause = cause
        self.problem = "its checkpoint cannot be loaded; the server's log says why"
        self._become("failed")

    def info(self, *, default: bool, current: bool) -> ModelInfo:
        """Describe it."""
        view = self._view
        height, width = (0, 0) if view is None else view.usual_size
        nearest, farthest = (0.0, 0.0) if view is None else view.depth_range
        backends = [worker.backend for worker in self._workers if worker.backend is not None]
        return ModelInfo(
            name=self.name,
            version=self.version,
            state=self._state,
            default=default,
            current=current,
            unit="relative" if view is None else view.scale.unit,
            affine=view is not None and view.scale.affine,
            height=height,
            width=width,
            min_depth=nearest,
            max_depth=farthest,
            licence="" if view is None else view.licence,
            backend=backends[0].description if backends else self._placement.backend,
            max_batch=0 if self._batcher is None else self._batcher.options.max_batch,
            statistics=self._work.statistics(),
            problem=self.problem,
        )

    def image_done(self) -> None:
        """Count an image that was answered."""
        self._work.images += 1

    def call_done(self, part: Part) -> None:
        """Count a call, as answered in the times of its slowest image or as failed."""
        if part.outcome == "ok":
            self._work.answered(part.timings)
        elif part.outcome != "cancelled":
            self._work.failed(part.seconds)

    def devices_memory(self) -> dict[str, int]:
        """Return the bytes that each device's allocator holds."""
        held: dict[str, int] = {}
        for device, worker in zip(self._placement.devices, self._workers, strict=False):
            backend: Backend | None = worker.backend
            held[device] = max(held.get(device, 0), 0 if backend is None else backend.memory_bytes())
        return held

    def _options(self, device: str) -> BackendOptions:
        settings = self._settings
        return BackendOptions(
            device=device,
            precision=settings.precision,
            threads=self._placement.threads,
            max_batch=settings.max_batch,
            cuda_graphs=settings.records_graphs,
            cache_dir=settings.cache_dir,
            foundation_weights=settings.foundation_weights,
        )

    def _worker_changed(self, number: int, reason: str | None) -> None:
        if reason is not None:
            self._metrics.backend_restarts.labels(self.name, reason).inc()
        if self._state in ("ready", "rebuilding"):
            alive = any(worker.backend is not None for worker in self._workers)
            self._become("ready" if alive else "rebuilding")

    def _batch_done(self, size: int, seconds: float) -> None:
        self._metrics.batch_size.labels(self.name).observe(size)
        self._metrics.batch_seconds.labels(self.name).observe(seconds)
        self._work.batch(size, seconds)

    def _become(self, state: ModelState) -> None:
        self._state = state
        self._on_change()


def _look(path: Path, *, hashed: bool) -> tuple[View, str]:
    """Return how a network sees pictures and, where it is wanted, the hash of what decides its depth.

    Raises:
        CheckpointError: It is no checkpoint that can be read.
        DescriptionError: It is described wrongly.
        OSError: It cannot be read.
    """
    view = view_of(path)
    if not hashed:
        return view, ""
    if isinstance(view, DescribedNetwork):
        return view, network_sha256(path, view.description)
    return view, contents_sha256(path)


def _shape(item: np.ndarray) -> tuple[int, ...]:
    return item.shape


class _Done:
    """What a model has done, counted."""

    def __init__(self) -> None:
        self.images = self._calls = self._failed = 0
        self._failed_s = 0.0
        self._phases_s = dict.fromkeys(("decode", "queue", "predict", "encode", "total"), 0.0)
        self._batches: dict[int, tuple[int, float]] = {}
        self._last_used_s = 0.0

    def answered(self, timings: Mapping[str, float]) -> None:
        self._calls += 1
        for phase in self._phases_s:
            self._phases_s[phase] += timings[phase]

    def failed(self, seconds: float) -> None:
        self._failed += 1
        self._failed_s += seconds

    def batch(self, size: int, seconds: float) -> None:
        count, total_s = self._batches.get(size, (0, 0.0))
        self._batches[size] = (count + 1, total_s + seconds)
        self._last_used_s = time.time()

    def statistics(self) -> ModelStatistics:
        return ModelStatistics(
            images=self.images,
            calls=self._calls,
            failed=self._failed,
            batches=sum(count for count, _ in self._batches.values()),
            queue_s=self._phases_s["queue"],
            decode_s=self._phases_s["decode"],
            network_s=self._phases_s["predict"],
            encode_s=self._phases_s["encode"],
            total_s=self._phases_s["total"],
            failed_s=self._failed_s,
            predict_s=sum(seconds for _, seconds in self._batches.values()),
            batch_sizes=dict(sorted(self._batches.items())),
            last_used_s=self._last_used_s,
        )
