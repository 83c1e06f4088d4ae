"""The one data plane: decode -> batch -> predict -> encode; every transport calls only this."""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

from service.backends import open_backend
from service.backends.choose import cores
from service.codec import UNDECODED_SHARE, DecodedImage, claimed_pixels, container
from service.codec.cameras import read_cameras
from service.codec.finish import Finished, FinishOptions, finish
from service.codec.measure import Observed, knowledge_of, observe
from service.codec.steadiness import SeenFrame, Steadier
from service.contract.answer import DepthAnswer, ModelInfo, NotServed
from service.contract.errors import DeadlineExceeded, NotReady, Overloaded, RequestError, ServiceError
from service.contract.pose import Pose
from service.contract.request import DepthRequest
from service.models.registry import Registry
from service.models.served import OpenBackend, ServedModel
from service.pixels import Pixels
from service.scheduling.admission import Admission, Ticket
from service.scheduling.budget import Share
from service.scheduling.clock import Clock, MonotonicClock, until
from service.scheduling.pool import WorkPool
from service.settings import Settings
from service.telemetry.calls import Part, count_image
from service.telemetry.metrics import Metrics, Outcome

_LOOK_TIMEOUT_S = 30.0
"""How long the other models are waited for at the start, once the default one is ready."""
_MOST_HUNG = 8
"""Threads that never came back from a backend; beyond these only a new process helps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """A frame's place among those of its stream, whose depth is held steady from one to the next."""

    steadier: Steadier
    pose: Pose | None = None
    """Of the camera, where it is known."""
    before: asyncio.Event
    """Set once the frame before has had its turn."""
    done: asyncio.Event


class Engine:
    """Answers depth for images, with every model that it was given.

    Use it as ``async with``: entering starts loading and returns at once; leaving drains.

    Args:
        settings: Everything that may be set.
        metrics: Where everything is counted.
        clock: Tells every deadline and measures everything, for transports too.
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
        self.clock = clock or MonotonicClock()
        self._cameras = {} if settings.cameras is None else read_cameras(settings.cameras)
        self._finishing = FinishOptions(
            colour_map=settings.colour_map,
            json_max_pixels=settings.json_max_pixels,
            ply_max_pixels=settings.ply_max_pixels,
        )
        self._registry = Registry(settings, metrics, self._changed, self.clock, opening)
        threads = settings.codec_threads or cores()
        self._pool = WorkPool(threads, self.clock)
        self._admission = Admission(threads, self.clock)
        self._pixels = Pixels(settings, metrics)
        self._listeners: list[Callable[[bool], None]] = []
        self._was_ready = False
        self._risen = asyncio.Event()
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

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        """Return the depth of one image.

        Args:
            request: The image, and how its depth is wanted.
            turn: Of a frame whose depth is held steady; None where each image is by itself.

        Raises:
            ServiceError: There is no answer; the class says why.
        """
        began_s = self.clock.now()
        timings: dict[str, float] = {}
        with self._counted(request, began_s, timings) as counted:
            if self._draining:
                raise NotReady("the service is stopping", retry_after_s=1.0)
            model = self._registry.get(request.model, request.version)
            deadline_s = began_s + self._settings.request_timeout_s
            if request.deadline_s is not None:
                deadline_s = min(deadline_s, request.deadline_s)
            jobs = _jobs(request, turn, model, self._settings.max_image_pixels)
            accepted = partial(
                self._admission.admit,
                model.batcher,
                jobs,
                caller=request.caller,
                stream=request.stream,
                priority=request.priority,
                deadline_s=deadline_s,
            )
            counted.model = model
            with accepted() as ticket, self._pixels.share(request) as held:
                try:
                    async with until(self.clock, deadline_s):
                        return await self._answer(request, model, ticket, held, turn, began_s, timings)
                except TimeoutError:
                    raise DeadlineExceeded("the request's deadline passed before it was answered") from None

    async def _answer(
        self,
        request: DepthRequest,
        model: ServedModel,
        ticket: Ticket,
        held: Share,
        turn: Turn | None,
        began_s: float,
        timings: dict[str, float],
    ) -> DepthAnswer:
        with model.batcher.place(ticket) as place:
            # 1. Bytes to pixels of the network's size.
            knowledge = knowledge_of(request, self._cameras)
            decode = partial(self._pixels.decode, request, model.view, held, knowledge)
            image = await self._pool.run(ticket, decode)
            timings["decode"] = self.clock.now() - began_s
            # 2. Through the network, batched with other requests.
            answered = await place.submit(image.seen)
        timings["queue"], timings["predict"] = answered.queue_s, answered.predict_s
        # 3. Disparity to depth in the caller's size and unit, and depth to bytes.
        finishing_s = self.clock.now()
        height, width = image.pixels.shape[:2] if request.size == "model" else (image.height, image.width)
        observing = partial(observe, model.view, answered.result, knowledge, image, (height, width))
        if turn is not None:
            # Frames of one batch are predicted together, but their depth follows one another.
            await turn.before.wait()
            source = (model.name, model.version, image.height, image.width)
            steadied = await self._pool.run(ticket, partial(_steady, turn, image, observing, source))
            observing = partial(replace, steadied)
            turn.done.set()
        last = partial(self._measure_and_finish, request, image, observing, (height, width))
        done = await self._pool.run(ticket, partial(self._pixels.finish, request, image, last))
        timings["encode"] = self.clock.now() - finishing_s
        timings["total"] = self.clock.now() - began_s
        spec, scale = request.format.spec, done.measured.scale
        return DepthAnswer(
            body=done.body,
            media_type=spec.media_type,
            format=request.format,
            height=height,
            width=width,
            dtype=spec.dtype,
            scale=spec.scale,
            unit=scale.unit,
            scale_source=scale.source,
            minimum=done.minimum,
            maximum=done.maximum,
            invalid=done.invalid,
            model=model.name,
            model_version=model.version,
            licence=model.view.licence,
            request_id=request.request_id,
            timings=timings,
            batch_size=answered.batch_size,
            intrinsics=done.measured.lens,
            notice="; ".join(filter(None, (image.notice, done.measured.notice))),
            distances=done.distances,
            **vars(scale.basis),
        )

    def models(self) -> list[ModelInfo]:
        """Describe every version of every model."""
        return self._registry.infos()

    def not_served(self) -> Sequence[NotServed]:
        """Return which files in the folder of models are not served, and why."""
        return self._registry.not_served

    def away(self) -> Sequence[str]:
        """Return the names of models that lie in the folder and were unloaded."""
        return self._registry.away

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
        """Wait until the default model is loaded, and somewhat longer for the others.

        Raises:
            NotReady: It cannot be; the message is for the operator.
        """
        looked = asyncio.ensure_future(self._registry.wait_looked())
        risen = asyncio.ensure_future(self._risen.wait())
        await asyncio.wait({looked, risen}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({looked}, timeout=_LOOK_TIMEOUT_S)
        looked.cancel()
        risen.cancel()
        if not self.ready:
            problems = {model.name: model.cause for model in self._registry.models if model.cause}
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
    def device_lost(self) -> bool:
        """Whether a device is lost to this process: whoever waits for it would wait for ever."""
        return any(model.device_lost for model in self._registry.models)

    @property
    def live(self) -> bool:
        """False once only a new process helps: too many backends have hung, or a model has lost its own."""
        return self._registry.hung <= _MOST_HUNG and not self._registry.lost

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

    def _measure_and_finish(
        self,
        request: DepthRequest,
        image: DecodedImage,
        observing: Callable[[], Observed],
        size: tuple[int, int],
    ) -> Finished:
        return finish(request, image, observing().measure(*size), self._finishing)

    @contextmanager
    def _counted(
        self, request: DepthRequest, began_s: float, timings: dict[str, float]
    ) -> Iterator["_Counted"]:
        """Count an image from its beginning to its end, however it ends."""
        counted = _Counted()
        self._in_flight += 1
        self._idle.clear()
        self._metrics.in_flight.labels(request.transport).inc()
        outcome: Outcome = "failed"
        try:
            yield counted
            outcome = "ok"
        except asyncio.CancelledError:
            outcome = "cancelled"
            self._metrics.requests_cancelled.labels(request.transport).inc()
            raise
        except ServiceError as error:
            outcome = _outcome(error)
            if outcome in ("overloaded", "not_ready"):
                self._metrics.requests_rejected.labels(request.transport, error.code).inc()
            if outcome == "expired":
                self._metrics.requests_expired.labels(request.transport).inc()
            raise
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            self._metrics.in_flight.labels(request.transport).dec()
            part = Part(
                transport=request.transport,
                model=self._registry.label(request.model),
                outcome=outcome,
                seconds=self.clock.now() - began_s,
                timings=timings,
                tell=None if counted.model is None else counted.model.call_done,
            )
            if outcome == "ok" and counted.model is not None:
                counted.model.image_done()
            count_image(self._metrics, part)

    def _changed(self) -> None:
        ready = self.ready
        if ready:
            self._risen.set()
        if ready != self._was_ready:
            self._was_ready = ready
            for listener in self._listeners:
                listener(ready)


@dataclass
class _Counted:
    """Which model an image was given to, once that is known."""

    model: ServedModel | None = None


def _steady(turn: Turn, image: DecodedImage, observing: Callable[[], Observed], source: Hashable) -> Observed:
    observed = observing()
    view = None if turn.pose is None else observed.scene.view_of(observed.disparity, turn.pose)
    frame = SeenFrame(pixels=image.pixels, disparity=observed.disparity, source=source, view=view)
    return replace(observed, disparity=turn.steadier.steady(frame))


def _jobs(
    request: DepthRequest, turn: Turn | None, model: ServedModel, max_pixels: int
) -> Sequence[tuple[str, float]]:
    """Return the kind and the megapixels of each codec job; those of one kind cost alike by the megapixel."""
    claimed = claimed_pixels(request.image)
    seen = claimed / 1e6 if claimed <= UNDECODED_SHARE * max_pixels else 0.0  # more is refused at once
    height, width = model.size
    made = height * width / 1e6 if request.size == "model" else seen
    decode = (f"decode {container(request.image)}", seen)
    kind = f"{request.format if request.map else 'distances'} {type(request.anchor).__name__}"
    if turn is None:
        return decode, (f"finish {kind}", made)
    return decode, ("steady", height * width / 1e6), (f"finish {kind}", made)


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
