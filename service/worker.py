"""A backend on a thread of its own, watched: one that hangs or keeps failing is replaced by a new one.

It does not know queues or requests, or what is behind the backend.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from service.backends import Backend, BackendError
from service.errors import InferenceFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURES_IN_A_ROW = 3
"""So many batches of one image that fail, without a success between, are the backend's fault."""
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
            except BaseException as error:  # it belongs to who asked, whatever it is
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


class Worker:
    """Runs batches on a backend, and rebuilds it when it is lost.

    Args:
        name: For logs and threads.
        build: Makes the backend, warmed up; runs in the worker's thread.
        hang_timeout_s: A batch that takes longer has hung the backend.
        on_change: Called in the event loop when the backend is lost (with the reason) or back (with None).
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Backend],
        *,
        hang_timeout_s: float,
        on_change: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self._name = name
        self._build = build
        self._hang_timeout_s = hang_timeout_s
        self._on_change = on_change
        self._failures = 0
        self._thread: DeviceThread | None = None
        self._backend: Backend | None = None
        self._available = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None
        self.hung = 0
        """How many threads were left behind in a backend that did not come back."""

    @property
    def backend(self) -> Backend | None:
        """The backend; None while there is none."""
        return self._backend

    async def start(self) -> None:
        """Build the backend.

        Raises:
            BackendError: It cannot be built.
        """
        thread = DeviceThread(f"device {self._name}")
        try:
            self._backend = await thread.run(self._build)
        except BaseException:  # a cancelled start, too, leaves no thread behind
            thread.stop()
            raise
        self._thread = thread
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
        backend, thread = self._backend, self._thread
        if backend is None or thread is None:
            raise InferenceFailed("the model's backend was lost")
        answer = thread.run(lambda: backend.predict(np.stack(items)))
        done, _ = await asyncio.wait([answer], timeout=timeout_s or self._hang_timeout_s)
        if not done:
            answer.cancel()
            self.hung += 1
            self._lose("hung")
            raise InferenceFailed("the model's backend did not answer, and is being restarted")
        try:
            disparity = answer.result()
        except Exception:
            if len(items) == 1:
                self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                self._lose("failed")
            raise
        self._failures = 0
        return list(disparity)

    async def close(self) -> None:
        """Let the backend go, and stop rebuilding."""
        self._available.clear()
        if self._rebuilding is not None:
            self._rebuilding.cancel()
        backend, thread = self._backend, self._thread
        self._backend = self._thread = None
        if thread is not None:
            if backend is not None:
                thread.run(backend.close)
            thread.stop()

    def _lose(self, reason: str) -> None:
        logger.error("the backend of %s %s; rebuilding it", self._name, reason)
        self._available.clear()
        backend, thread = self._backend, self._thread
        self._backend = self._thread = None
        if thread is not None:
            if backend is not None and reason != "hung":
                thread.run(backend.close)
            thread.stop()
        self._on_change(reason)
        self._rebuilding = asyncio.create_task(self._rebuild())

    async def _rebuild(self) -> None:
        pause_s = 0.5
        while self._backend is None:
            try:
                await self.start()
            except (BackendError, RuntimeError, OSError, MemoryError) as error:
                logger.warning("the backend of %s could not be rebuilt: %s", self._name, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        logger.info("the backend of %s is back", self._name)
        self._on_change(None)
