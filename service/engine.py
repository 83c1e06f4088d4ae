"""The one data plane: decode -> batch -> predict -> encode; every door calls only this.

It does not know how requests arrive or how answers leave.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Float32

from service.answer import DepthAnswer, ModelInfo
from service.backends import open_backend
from service.backends.choose import cores
from service.clock import Clock, MonotonicClock
from service.codec import DecodedImage, EncodedDepth, decode_image, encode_depth, held_range
from service.codec.encode import EncodeOptions
from service.errors import DeadlineExceeded, NotReady, Overloaded, RequestError, ServiceError
from service.measure import Measured, lens_of_map, measure_depth
from service.metrics import Metrics, Outcome
from service.pool import Errand, WorkPool
from service.registry import Registry
from service.request import DepthRequest, Format
from service.served import OpenBackend, ServedModel
from service.settings import Settings

Adjust = Callable[[Float32[np.ndarray, "height width"]], Awaitable[float]]
"""Awaited with an image's depth before it is encoded; what it answers multiplies the depth."""

_MOST_HUNG = 8
"""Threads that never came back from a backend; beyond these only a new process helps."""
_DECODE, _FINISH = 0, 1
"""Stages of a request: work that finishes one goes before work that begins one."""


_Finished = tuple[Measured, EncodedDepth, float, float]
"""Depth, depth in bytes, and the range that these hold; to find it takes longer than an event loop may."""


class Engine:
    """Answers depth for images, with every model that it was given.

    Use it as ``async with``: entering starts loading and returns at once; leaving drains.

    Args:
        settings: Everything that may be set.
        metrics: Where everything is counted.
        clock: Monotonic seconds.
        opening: Makes backends; tests have their own.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        clock: Clock | None = None,
        opening: OpenBackend = open_backend,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._clock = clock or MonotonicClock()
        self._registry = Registry(settings, metrics, self._changed, opening)
        self._pool = WorkPool(settings.codec_threads or cores())
        self._listeners: list[Callable[[bool], None]] = []
        self._was_ready = False
        self._draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Self:
        await self._registry.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._draining:
            await self.drain(self._settings.drain_timeout_s)
        await self._registry.__aexit__(kind, error, traceback)
        self._pool.close()

    async def depth(self, request: DepthRequest, adjust: Adjust | None = None) -> DepthAnswer:
        """Answer the depth of one image.

        Args:
            request: The image, and how its depth is wanted.
            adjust: Awaited with the depth before it is encoded.

        Raises:
            ServiceError: There is no answer; the class says why.
        """
        began_s = self._clock.now()
        timings: dict[str, float] = {}
        with self._counted(request, began_s, timings):
            if self._draining:
                raise NotReady("the service is stopping", retry_after_s=1.0)
            model = self._registry.get(request.model, request.version)
            deadline_s = began_s + self._settings.request_timeout_s
            if request.deadline_s is not None:
                deadline_s = min(deadline_s, request.deadline_s)
            jobs = _jobs(request, adjust)
            with model.recorded(timings):
                predicted_s = self._admit(request, model, jobs, deadline_s)
                with model.forecast.tested(predicted_s), self._pool.errand(jobs, request.priority) as errand:
                    try:
                        async with asyncio.timeout(max(0.0, deadline_s - self._clock.now())):
                            return await self._answer(
                                request, model, errand, deadline_s, adjust, began_s, timings
                            )
                    except TimeoutError:
                        raise DeadlineExceeded(
                            "the request's deadline passed before it was answered"
                        ) from None

    async def _answer(
        self,
        request: DepthRequest,
        model: ServedModel,
        errand: Errand,
        deadline_s: float,
        adjust: Adjust | None,
        began_s: float,
        timings: dict[str, float],
    ) -> DepthAnswer:
        with model.batcher.place(priority=request.priority, deadline_s=deadline_s) as place:
            # 1. Bytes to pixels of the network's size.
            image = await errand.run(partial(self._decode, request, model), stage=_DECODE)
            timings["decode"] = self._clock.now() - began_s
            # 2. Through the network, with whoever else waits.
            answered = await place.submit(image.pixels)
        timings["queue"], timings["predict"] = answered.queue_s, answered.predict_s
        # 3. Disparity to depth of the caller's size and in his unit, and depth to bytes.
        finishing_s = self._clock.now()
        measure = partial(measure_depth, request, image, answered.result, model.metadata.scale)
        if adjust is None:
            finish = partial(self._measure_and_encode, request, image, measure)
        else:
            measured = await errand.run(measure, stage=_FINISH)
            factor = await adjust(measured.depth)
            finish = partial(self._encode, request, image, measured, np.float32(factor))
        answer, encoded, least, most = await errand.run(finish, stage=_FINISH)
        timings["encode"] = self._clock.now() - finishing_s
        timings["total"] = self._clock.now() - began_s
        height, width = answer.depth.shape
        return DepthAnswer(
            body=encoded.body,
            media_type=encoded.media_type,
            format=request.format,
            height=height,
            width=width,
            dtype=encoded.dtype,
            scale=encoded.scale,
            unit=answer.unit,
            scale_source=answer.source,
            minimum=least,
            maximum=most,
            invalid=encoded.invalid,
            model=model.name,
            model_version=model.version,
            request_id=request.request_id,
            timings=timings,
            batch_size=answered.batch_size,
            intrinsics=lens_of_map(request, image, answer.depth),
        )

    def models(self) -> list[ModelInfo]:
        """Describe every version of every model."""
        return self._registry.infos()

    def model(self, name: str | None = None, version: str | None = None) -> ModelInfo:
        """Describe the model that answers requests for a name and version.

        Raises:
            UnknownModel: There is none.
            NotReady: It is not ready.
        """
        found = self._registry.get(name, version)
        return next(
            info for info in self.models() if (info.name, info.version) == (found.name, found.version)
        )

    async def wait_ready(self) -> None:
        """Wait until the default model is loaded.

        Raises:
            NotReady: It cannot be.
        """
        await self._registry.wait_looked()
        if not self.ready:
            problems = {model.name: model.problem for model in self._registry.models if model.problem}
            found = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
            raise NotReady(found or f"no checkpoint lies in {self._settings.models}")

    @property
    def ready(self) -> bool:
        """Whether the default model answers."""
        try:
            self._registry.get()
        except ServiceError:
            return False
        return not self._draining

    @property
    def live(self) -> bool:
        """False once so many backends have hung that only a new process helps."""
        return self._registry.hung <= _MOST_HUNG

    def on_ready_change(self, listener: Callable[[bool], None]) -> None:
        """Call back in the event loop, with the new value, whenever `ready` changes."""
        self._listeners.append(listener)

    async def reload(self, name: str | None = None) -> None:
        """Look through the models' folder now; load anew what changed, or `name` whatever happened.

        Raises:
            UnknownModel: There is no such checkpoint.
            NotReady: It could not be loaded; what served before still serves.
        """
        await self._registry.look(name)

    async def unload(self, name: str) -> None:
        """Drain a model and let it go.

        Raises:
            UnknownModel: It is not served.
            InvalidArgument: It answers requests that name none, and there are others.
        """
        await self._registry.unload(name)

    async def drain(self, timeout_s: float) -> int:
        """Accept nothing more, wait for what was accepted, and answer how many were left."""
        self._draining = True
        self._changed()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            for model in self._registry.models:
                model.abandon()
        return self._in_flight

    def _admit(
        self, request: DepthRequest, model: ServedModel, jobs: Sequence[str], deadline_s: float
    ) -> float:
        """Predict how long a request that comes now will take; refuse it if that is beyond its deadline."""
        pool, batcher, priority = self._pool, model.batcher, request.priority
        # The threads and the devices work side by side: who comes last waits for the busier of them.
        wait_s = max(pool.predicted_wait_s(priority), batcher.predicted_wait_s(priority))
        own_s = sum(pool.mean_s(job) for job in jobs) + batcher.predicted_batch_s(priority)
        late_s = self._clock.now() + model.forecast.within_s(wait_s + own_s) - deadline_s
        if wait_s > 0 and late_s > 0:  # alone, it is worth a try: what was learned may be out of date
            raise Overloaded(
                f"the wait is {wait_s:.2f} s, and the deadline might pass by {late_s:.2f} s",
                retry_after_s=late_s,
            )
        return wait_s + own_s

    def _decode(self, request: DepthRequest, model: ServedModel) -> DecodedImage:
        height, width = model.size
        return decode_image(
            request.image,
            height=height,
            width=width,
            max_pixels=self._settings.max_image_pixels,
            keep_rgb=request.format is Format.PLY and request.size == "input",
            scaled=self._settings.scaled_decode,
        )

    def _measure_and_encode(
        self, request: DepthRequest, image: DecodedImage, measure: Callable[[], Measured]
    ) -> _Finished:
        return self._encode(request, image, measure(), None)

    def _encode(
        self, request: DepthRequest, image: DecodedImage, measured: Measured, factor: np.float32 | None
    ) -> _Finished:
        if factor is not None:
            measured = Measured(depth=measured.depth * factor, unit=measured.unit, source=measured.source)
        options = EncodeOptions(
            unit=measured.unit,
            colour=request.colour,
            colour_map=self._settings.colour_map,
            intrinsics=lens_of_map(request, image, measured.depth),
            rgb=image.pixels if request.size == "model" else image.rgb,
            json_max_pixels=self._settings.json_max_pixels,
            ply_max_pixels=self._settings.ply_max_pixels,
        )
        depth = measured.depth
        return measured, encode_depth(depth, request.format, options), *held_range(depth, request.format)

    @contextmanager
    def _counted(self, request: DepthRequest, began_s: float, timings: dict[str, float]) -> Iterator[None]:
        """Count a request from its beginning to its end, however it ends."""
        self._in_flight += 1
        self._idle.clear()
        self._metrics.in_flight.labels(request.door).inc()
        outcome: Outcome = "failed"
        try:
            yield
            outcome = "ok"
        except asyncio.CancelledError:
            outcome = "cancelled"
            self._metrics.requests_cancelled.labels(request.door).inc()
            raise
        except ServiceError as error:
            outcome = _outcome(error)
            if outcome in ("overloaded", "not_ready"):
                self._metrics.requests_rejected.labels(request.door, error.code).inc()
            if outcome == "expired":
                self._metrics.requests_expired.labels(request.door).inc()
            raise
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            self._metrics.in_flight.labels(request.door).dec()
            label = self._registry.label(request.model)
            self._metrics.request_seconds.labels(request.door, label, outcome).observe(
                self._clock.now() - began_s
            )
            for phase, seconds in timings.items():
                self._metrics.phase_seconds.labels(phase, request.door, label, outcome).observe(seconds)

    def _changed(self) -> None:
        ready = self.ready
        if ready != self._was_ready:
            self._was_ready = ready
            for listener in self._listeners:
                listener(ready)


def _jobs(request: DepthRequest, adjust: Adjust | None) -> Sequence[str]:
    """Name the jobs that a request brings to the pool; those of one name take about as long."""
    if adjust is None:
        return ("decode", f"finish {request.format}")
    return ("decode", "measure", f"encode {request.format}")


def _outcome(error: ServiceError) -> Outcome:
    if isinstance(error, RequestError):
        return "invalid"
    if isinstance(error, Overloaded):
        return "overloaded"
    if isinstance(error, NotReady):
        return "not_ready"
    if isinstance(error, DeadlineExceeded):
        return "expired"
    return "failed"
