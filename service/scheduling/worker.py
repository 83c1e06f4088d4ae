"""A backend on threads of its own, watched: one that hangs or keeps failing is replaced by a new one.

It has a thread for each batch that its backend takes at once.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from service.backends import Backend, BackendError, DeviceLost
from service.contract.errors import InferenceFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURES_IN_A_ROW = 3
"""So many batches of one image that fail, without a success between, are the backend's fault."""
_LOSSES_IN_A_ROW = 8
"""So many backends that were lost, without an answer between, are the device's fault."""
_LONGEST_PAUSE_S = 60.0
"""Between attempts to rebuild."""


class DeviceThread:
    """One thread that does one thing after another, and that nobody waits for at the end.

    The standard library's pools join their threads when the process exits: one that hangs would hold it.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do something in the thread; cancelling the future does not stop what has begun."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def tell(method: Callable[[Any], None], value: object) -> None:
            if not answer.done():
                method(value)

        def do() -> None:
            if answer.cancelled():
                return
            try:
                outcome: tuple[Callable[[Any], None], object] = (answer.set_result, work())
            except BaseException as error:  # handed to the caller that waits
                outcome = (answer.set_exception, error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, *outcome)

        self._work.put(do)
        return answer

    def stop(self) -> None:
        """End the thread when it has done what it was given."""
        self._work.put(None)

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            work()


class _Lanes:
    """A backend, and as many threads as it takes batches at once."""

    def __init__(self, backend: Backend, threads: Sequence[DeviceThread]) -> None:
        self.backend, self.threads = backend, threads
        self._idle = list(threads)

    @contextmanager
    def thread(self) -> Iterator[DeviceThread]:
        """Take the thread of an idle lane; nobody asks for more than there are."""
        thread = self._idle.pop()
        try:
            yield thread
        finally:
            self._idle.append(thread)

    def close(self, *, hung: bool = False) -> None:
        """End the threads when they have done what they were given; a backend that hangs is left alone."""
        if not hung:
            self.threads[0].run(self.backend.close)
        for thread in self.threads:
            thread.stop()


class Worker:
    """Runs batches on a backend, and rebuilds it when it is lost.

    Args:
        name: For logs and threads.
        build: Makes the backend, warmed up; runs in the worker's thread.
        hang_timeout_s: A batch that takes longer has hung the backend.
        lost_after_s: How long rebuilding may take before the backend counts as lost for good.
        on_change: Called in the event loop when the backend is lost (with the reason) or back (with None).
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Backend],
        *,
        hang_timeout_s: float,
        lost_after_s: float = math.inf,
        on_change: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self._name = name
        self._build = build
        self._hang_timeout_s = hang_timeout_s
        self._lost_after_s = lost_after_s
        self._losses = 0
        self._without_since_s: float | None = None
        self._device_lost = False
        self._on_change = on_change
        self._failures = 0
        self._lanes: _Lanes | None = None
        self._available = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None
        self.hung = 0
        """How many threads were left behind in a backend that did not come back."""

    @property
    def backend(self) -> Backend | None:
        """The backend; None while there is none."""
        return None if self._lanes is None else self._lanes.backend

    @property
    def device_lost(self) -> bool:
        """Whether the device itself is lost to this process, as after an error that sticks to its context."""
        return self._device_lost

    @property
    def lost(self) -> bool:
        """Whether only a new process can bring the backend back: rebuilding it does not help."""
        if self._device_lost or self._losses >= _LOSSES_IN_A_ROW:
            return True
        since_s = self._without_since_s
        return since_s is not None and time.monotonic() - since_s > self._lost_after_s

    @property
    def lanes(self) -> int:
        """How many batches it takes at once; 0 while there is no backend."""
        return 0 if self._lanes is None else len(self._lanes.threads)

    async def start(self) -> None:
        """Build the backend.

        Raises:
            BackendError: It cannot be built.
        """
        thread = DeviceThread(f"device {self._name}")
        try:
            backend = await thread.run(self._build)
        except BaseException:  # a cancelled start, too, leaves no thread behind
            thread.stop()
            raise
        further = [DeviceThread(f"device {self._name} {lane}") for lane in range(1, backend.lanes)]
        self._lanes = _Lanes(backend, [thread, *further])
        self._failures = 0
        self._available.set()

    async def available(self) -> None:
        """Wait until there is a backend."""
        await self._available.wait()

    async def predict(
        self, items: Sequence[UInt8[np.ndarray, "height width 3"]], timeout_s: float | None = None
    ) -> Sequence[Float32[np.ndarray, "height width"]]:
        """Return the disparity of images of the backend's size.

        Args:
            items: The images.
            timeout_s: How long they may take; as long as any batch where None.

        Raises:
            InferenceFailed: The backend hung, and is being replaced.
            Exception: Whatever the backend raised.
        """
        lanes = self._lanes
        if lanes is None:
            raise InferenceFailed("the model's backend was lost")
        with lanes.thread() as thread:
            answer = thread.run(lambda: lanes.backend.predict(np.stack(items)))
            done, _ = await asyncio.wait([answer], timeout=timeout_s or self._hang_timeout_s)
        if not done:
            answer.cancel()
            self.hung += 1
            self._lose(lanes, "hung")
            raise InferenceFailed("the model's backend did not answer, and is being restarted")
        try:
            disparity = answer.result()
        except DeviceLost as error:
            logger.critical("the device of %s is lost to this process: %s", self._name, error)
            self._device_lost = True
            self._lose(lanes, "failed")
            raise
        except Exception:
            if len(items) == 1:
                self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                self._lose(lanes, "failed")
            raise
        self._failures = self._losses = 0
        return list(disparity)

    async def close(self) -> None:
        """Let the backend go, and stop rebuilding."""
        self._available.clear()
        if self._rebuilding is not None:
            self._rebuilding.cancel()
        lanes, self._lanes = self._lanes, None
        if lanes is not None:
            lanes.close()

    def _lose(self, lanes: "_Lanes", reason: str) -> None:
        if lanes is not self._lanes:
            return  # a batch beside this one has said so
        logger.error("the backend of %s %s; rebuilding it", self._name, reason)
        self._available.clear()
        self._lanes = None
        self._losses += 1
        self._without_since_s = time.monotonic()
        lanes.close(hung=reason == "hung")
        self._on_change(reason)
        self._rebuilding = asyncio.create_task(self._rebuild())

    async def _rebuild(self) -> None:
        pause_s = 0.5
        while self._lanes is None:
            try:
                await self.start()
            except (BackendError, DeviceLost, RuntimeError, OSError, MemoryError) as error:
                self._device_lost = self._device_lost or isinstance(error, DeviceLost)
                logger.warning("the backend of %s could not be rebuilt: %s", self._name, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._without_since_s = None
        logger.info("the backend of %s is back", self._name)
        self._on_change(None)
