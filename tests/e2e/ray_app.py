"""The application that runs on Ray, with an engine in it that takes its time and keeps a journal on disk."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.serve import Application

from service.contract.answer import DepthAnswer
from service.contract.request import DepthRequest
from service.engine import Engine, Turn
from service.ray.application import bind
from service.settings import Settings
from service.telemetry.metrics import Metrics


class JournalEngine(Engine):
    """Holds each request for a while, and writes when it began and when it was answered."""

    def __init__(self, settings: Settings, metrics: Metrics, *, folder: str, hold_s: float) -> None:
        super().__init__(settings, metrics)
        context = ray.get_runtime_context()
        self._path = Path(folder) / f"{context.get_node_id()}.{context.get_actor_id()}"
        self._note("opened", "")
        self._hold_s = hold_s

    def _note(self, what: str, request_id: str) -> None:
        # Written and closed at once, so that it is there even if the process is killed in the next moment.
        with self._path.open("a") as journal:
            journal.write(f"{what} {request_id}\n")

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        self._note("began", request.request_id)
        await asyncio.sleep(self._hold_s)
        answer = await super().depth(request, turn)
        self._note("answered", request.request_id)
        return answer


def build(arguments: dict[str, Any]) -> Application:
    own = {"folder": arguments.pop("journal"), "hold_s": arguments.pop("hold_s")}
    return bind(arguments, partial(JournalEngine, **own))
