"""Named, versioned models: loaded beside those that serve, swapped in whole, drained when they go.

What fails to load changes nothing about what serves.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from service.backends import BackendError, Placement, choose, open_backend
from service.contract.answer import ModelInfo, NotServed
from service.contract.errors import InvalidArgument, NotReady, UnknownModel
from service.models.discovery import CheckpointFile, CheckpointFolder, is_name
from service.models.served import OpenBackend, ServedModel
from service.scheduling.clock import Clock
from service.settings import Settings
from service.telemetry.metrics import UNKNOWN, Metrics

logger = logging.getLogger(__name__)

_SERVING = ("ready", "rebuilding")
_ATTEMPTS = 10
"""How often a model is loaded whose checkpoint is replaced each time, before the next look."""
_HEAD_START_S = 30.0
"""How long other models wait for the default one: it makes the service ready, and they would slow it down."""
_DEFAULT = "student"
"""Answers requests that name no model, where a model is called so and none was named in the settings."""


class Registry:
    """The models that are served, kept in step with the folder that they lie in.

    Use it as ``async with``: entering starts loading and returns at once; leaving drains every model.

    Args:
        settings: Where models lie, and how they are served.
        metrics: Where loads are counted.
        on_change: Called when a model becomes ready, or stops being so.
        clock: Measures them.
        opening: Makes backends; tests have their own.

    Raises:
        BackendError: The devices that were asked for are not there.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        on_change: Callable[[], None],
        clock: Clock,
        opening: OpenBackend = open_backend,
    ) -> None:
        self._settings, self._metrics, self._on_change = settings, metrics, on_change
        self._clock, self._opening = clock, opening
        wanted = settings.backend, settings.device, settings.instances, settings.threads
        self._placement: Placement = choose(*wanted)
        self._served: dict[str, list[ServedModel]] = {}
        self._names: Sequence[str] | None = None
        """Of the models that are served or should be; None until the folder has been looked through."""
        self._folder = CheckpointFolder(settings.models, settings.folder_timeout_s)
        self._found: Collection[str] = ()
        """Names of all models in the folder."""
        self._seen: dict[str, list[CheckpointFile]] = {}
        self._loads: dict[str, asyncio.Task[str | None]] = {}
        self._unloaded: set[str] = set()
        self._bare = False
        """Whether the folder held nothing when it was last looked through, while models served."""
        self._looking = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._going: list[ServedModel] = []
        self._hung_gone = 0
        self._first_look: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        place = self._placement
        logger.info("networks run on %s, %s: %s", place.backend, ", ".join(place.devices), place.reason)
        self._first_look = asyncio.create_task(self._look_or_warn(self.look()))
        if self._settings.watch_interval_s:
            self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        looks = [task for task in (self._first_look, self._watching) if task is not None]
        tasks = [*looks, *self._loads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        models = self.models
        self._served.clear()
        await asyncio.gather(*(model.close() for model in models), *self._leaving, return_exceptions=True)

    @property
    def default_name(self) -> str | None:
        """Which model answers requests that name none."""
        if self._settings.default_model is not None:
            return self._settings.default_model
        names = self._names or ()
        return _DEFAULT if _DEFAULT in names else next(iter(names), None)

    @property
    def models(self) -> Sequence[ServedModel]:
        """Every version of every model, the current one of each first."""
        return [model for _, versions in sorted(self._served.items()) for model in versions]

    @property
    def hung(self) -> int:
        """How many threads backends never gave back, those of models that are long gone included."""
        return self._hung_gone + sum(model.hung for model in (*self.models, *self._going))

    @property
    def lost(self) -> bool:
        """Whether a model has no backend any more, and this process will not get it one."""
        return any(model.lost for model in self.models)

    @property
    def not_served(self) -> list[NotServed]:
        """Files of the folder that are not served, and why."""
        return [NotServed(file=entry.name, reason=problem) for entry, problem in self._folder.left]

    @property
    def away(self) -> Sequence[str]:
        """The names of models that lie in the folder and were unloaded."""
        return sorted(self._unloaded.intersection(self._found))

    def infos(self) -> list[ModelInfo]:
        """Describe every version of every model."""
        default = self.default_name
        return [
            model.info(default=model.name == default, current=index == 0)
            for _, versions in sorted(self._served.items())
            for index, model in enumerate(versions)
        ]

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return the model that answers requests for a name and version, which may be left out.

        Raises:
            UnknownModel: There is none.
            NotReady: It is loading, being rebuilt, or could not be loaded.
        """
        wanted = name or self.default_name
        if self._names is None or wanted is None:
            raise NotReady("no model is loaded yet", retry_after_s=1.0)
        versions = self._served.get(wanted, [])
        if not versions and wanted in self._names:
            raise NotReady(f"model {wanted!r} is loading", retry_after_s=1.0)
        found = [model for model in versions if version in (None, model.version)]
        if not found:
            asked = f"{wanted!r}" if version is None else f"{wanted!r} of version {version!r}"
            known = ", ".join(f"{model.name} {model.version}" for model in self.models) or "none yet"
            raise UnknownModel(f"there is no model {asked[:80]}; expected one of {known}")
        ready = next((model for model in found if model.state == "ready"), None)
        if ready is None:
            raise NotReady(f"model {wanted!r} is {found[0].state}", retry_after_s=1.0)
        return ready

    def label(self, name: str | None) -> str:
        """Return what a model is called in metrics: one word for all that there are not."""
        wanted = name or self.default_name
        return wanted if wanted in self._served else UNKNOWN

    async def wait_looked(self) -> None:
        """Wait until every model that was there at the start has been tried, or could not be in time."""
        if self._first_look is not None:
            await asyncio.wait([self._first_look])

    async def look(self, name: str | None = None) -> None:
        """Look through the folder now; load what is new or changed, and let go what is gone.

        Waits for the loads that this begins; they go on where the caller goes away.

        Args:
            name: Loaded anew whether it changed or not.

        Where nothing at all is left, what serves serves on: a folder that is being replaced or a volume that
        is away looks just so.

        Raises:
            UnknownModel: No checkpoint has this name.
            NotReady: The named model could not be loaded; what served before still serves.
            OSError: The folder cannot be looked through; nothing has changed.
        """
        loads = await self._begin_loads(name)
        if name is not None:
            loads = {name: loads[name]}
        if loads:
            await asyncio.wait(loads.values())
        if name is not None and (loads[name].cancelled() or loads[name].result() is not None):
            raise NotReady(f"model {name!r} could not be loaded, and what served before still serves")

    async def _begin_loads(self, name: str | None = None) -> dict[str, asyncio.Task[str | None]]:
        """Let go what is gone, and begin to load what is new or changed; return what now loads, by name."""
        async with self._looking:
            self._found = found = await self._folder.find()
            if name is not None:
                if not is_name(name) or name not in found:
                    raise UnknownModel(f"there is no checkpoint of a model {name[:80]!r}")
                self._unloaded.discard(name)
                self._seen.pop(name, None)
            if not found and self._served:
                if not self._bare:
                    logger.warning("no model is left in %s; what serves serves on", self._settings.models)
                self._bare = True
                return {}
            self._bare = False
            self._names = [model for model in found if model not in self._unloaded]
            for gone in [model for model in {**self._served, **self._loads} if model not in found]:
                await self._drop(gone)
            loads, default = {}, self.default_name or ""
            for model in self._in_order(found):
                kept = found[model][: self._settings.versions_kept]
                if self._seen.get(model) == kept and model not in self._loads:
                    continue
                if model not in self._loads or model == name:
                    before = self._loads.get(model, None if self._serving() else self._loads.get(default))
                    load = self._load(model, kept, anew=model == name, before=before)
                    self._loads[model] = asyncio.create_task(load)
                loads[model] = self._loads[model]
            self._announce()
            return loads

    def _serving(self) -> bool:
        """Whether the default model serves, so that others need not wait for it to be loaded."""
        return any(model.state in _SERVING for model in self._served.get(self.default_name or "", ()))

    async def _load(
        self,
        name: str,
        wanted: list[CheckpointFile],
        *,
        anew: bool,
        before: asyncio.Task[str | None] | None,
    ) -> str | None:
        """Load a model, again where its files were replaced meanwhile; return what went wrong, if anything.

        Args:
            name: Which model.
            wanted: Its versions that are to serve, the newest first.
            anew: Whether those that serve already are loaded, too.
            before: What is waited for first, so that two do not take each other's time.
        """
        if before is not None:
            await asyncio.wait([before], timeout=_HEAD_START_S)
        try:
            for _ in range(_ATTEMPTS):
                problem = await self._bring(name, wanted, anew=anew)
                self._seen[name] = wanted
                if problem is None:
                    break
                now = (await self._folder.find()).get(name, [])[: self._settings.versions_kept]
                if now in ([], wanted):
                    break
                logger.info("%s was replaced while it was loaded; the new checkpoint is loaded", name)
                wanted = now
            self._metrics.model_load_failing.labels(name).set(0 if problem is None else 1)
        finally:
            if self._loads.get(name) is asyncio.current_task():
                del self._loads[name]
            self._announce()
        return problem

    async def _drop(self, name: str) -> None:
        """Let a model go, and break off its load."""
        if (load := self._loads.get(name)) is not None:
            load.cancel()
            await asyncio.wait([load])
        self._retire(self._served.pop(name, []))
        self._seen.pop(name, None)
        with contextlib.suppress(KeyError):
            self._metrics.model_load_failing.remove(name)

    async def unload(self, name: str) -> None:
        """Drain a model and let it go; it stays away until it is asked for again.

        Raises:
            UnknownModel: It is not served.
            InvalidArgument: It is the one that answers requests which name none, and there are others.
        """
        async with self._looking:
            if name not in self._served and name not in self._loads:
                raise UnknownModel(f"there is no model {name[:80]!r}")
            if name == self.default_name and len(self._served) > 1:
                raise InvalidArgument(f"model {name!r} answers requests that name none; expected another")
            self._unloaded.add(name)
            self._names = [other for other in self._names or () if other != name]
            await self._drop(name)
            self._announce()

    async def _bring(self, name: str, wanted: list[CheckpointFile], *, anew: bool) -> str | None:
        """Make exactly these versions serve, newest first; return what went wrong, if anything did."""
        before = self._served.get(name, [])
        serving = {model.file: model for model in before if model.state in _SERVING and not anew}
        after: list[ServedModel] = []
        problem = None
        for file in wanted:
            model = serving.get(file)
            if model is None:
                for result in ("loaded", "failed"):  # both are shown from the beginning
                    self._metrics.model_loads.labels(name, result)
                shared = (self._settings, self._placement, self._metrics, self._announce, self._clock)
                model = ServedModel(file, *shared, self._opening)
                if not before:
                    self._served.setdefault(name, []).append(model)  # to be seen while it loads
                try:
                    problem = await self._open(model) or problem
                except BaseException:  # broken off: it is as if it had not begun
                    self._take_back(name, before, [*after, model])
                    self._announce()
                    raise
                self._metrics.model_loads.labels(name, "failed" if model.problem else "loaded").inc()
            after.append(model)
        if problem is not None and any(model.state == "ready" for model in before):
            self._take_back(name, before, after)
            return problem
        self._served[name] = after
        self._retire([model for model in before if model not in after])
        return problem

    async def _open(self, model: ServedModel) -> str | None:
        """Load one version within its time; return what went wrong, if anything did."""
        limit_s = self._settings.load_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await model.open()
        except TimeoutError:
            self._hung_gone += 1
            problem = f"{model.file.path} was not loaded within {limit_s:g} s (DEPTH_LOAD_TIMEOUT_S)"
        except BackendError as error:
            problem = str(error)
        else:
            return None
        logger.error("model %s could not be loaded: %s", model.name, problem)
        model.fail(problem)
        return problem

    def _take_back(self, name: str, before: list[ServedModel], begun: list[ServedModel]) -> None:
        """Serve what served before, where loading failed or was broken off."""
        if before:
            self._served[name] = before
        else:
            self._served.pop(name, None)
        self._retire([model for model in begun if model not in before])

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """Return the names of those that are to be served, the default first: it makes the service ready."""
        return sorted(set(names) - self._unloaded, key=lambda name: (name != self.default_name, name))

    def _announce(self) -> None:
        """Show the states of all models as they are now, and none that are gone."""
        self._metrics.model_state.clear()
        for model in self.models:
            self._metrics.model_state.labels(model.name, model.version, model.state).set(1)
            waiting = self._metrics.queue_length.labels(model.name)
            waiting.set_function(partial(self._waiting, model.name))
        for device in set(self._placement.devices) - {"cpu"}:
            held = self._metrics.device_memory_bytes.labels(device)
            held.set_function(partial(self._device_memory_bytes, device))
        self._on_change()

    def _waiting(self, name: str) -> int:
        return sum(model.waiting for model in self._served.get(name, ()))

    def _device_memory_bytes(self, device: str) -> int:
        # Each answers for the whole allocator of the device, which all models share.
        return max((model.devices_memory().get(device, 0) for model in self.models), default=0)

    def _retire(self, models: Sequence[ServedModel]) -> None:
        """Let models go when they have answered what they accepted."""
        for model in models:
            self._going.append(model)
            task = asyncio.create_task(self._let_go(model))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _let_go(self, model: ServedModel) -> None:
        try:
            await model.close()
        finally:
            self._going.remove(model)
            self._hung_gone += model.hung

    async def _watch(self) -> None:
        await self.wait_looked()
        while True:
            await asyncio.sleep(self._settings.watch_interval_s)
            await self._look_or_warn(self._begin_loads())

    async def _look_or_warn(self, looking: Coroutine[Any, Any, object]) -> None:
        try:
            await looking
        except OSError as error:
            logger.warning("the folder of models cannot be looked through: %s", error)
