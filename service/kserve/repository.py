"""The folder of models, for those who hold the admin key: what lies in it, what to load, what to let go.

It does not know who asks; a door has checked the key before.
"""

import asyncio
from collections.abc import Iterable, Mapping

from service.answer import ModelInfo, ModelState
from service.doors import Doors
from service.errors import InvalidArgument
from service.kserve.contract import Json
from service.shelf import find_checkpoints

_STATES: Mapping[ModelState, str] = {
    "loading": "LOADING",
    "ready": "READY",
    "rebuilding": "UNAVAILABLE",
    "draining": "UNLOADING",
    "failed": "UNAVAILABLE",
}
_AWAY = {"state": "UNAVAILABLE", "reason": "unloaded"}
_UNLOAD_PARAMETERS = ("unload_dependents",)
"""Means nothing here, where no model depends on another, but Triton's clients always send it."""


async def index(doors: Doors, *, only_ready: bool = False) -> list[Json]:
    """List what is served, and what lies in the folder and was unloaded."""
    infos = doors.engine.models()
    served = {info.name for info in infos}
    there = await asyncio.to_thread(find_checkpoints, doors.settings.models)
    away = [{"name": name, "version": "", **_AWAY} for name in there if name not in served]
    listed = [*(_entry(info) for info in infos), *away]
    return [entry for entry in listed if entry["state"] == "READY" or not only_ready]


async def load(doors: Doors, name: str, parameters: Iterable[str]) -> None:
    """Load a model from its files; it takes the place of what is served under its name when it is warm.

    Raises:
        InvalidArgument: A parameter is given: files and configurations are not taken over the wire.
        UnknownModel: There is no such checkpoint.
        NotReady: It could not be loaded; what served before still serves.
    """
    for parameter in parameters:
        raise InvalidArgument(
            f"loading takes no parameter {parameter[:40]!r}; expected the checkpoint in the folder of models"
        )
    await doors.engine.reload(name)


async def unload(doors: Doors, name: str, parameters: Iterable[str]) -> None:
    """Answer what the model was asked already, then let it go.

    Raises:
        InvalidArgument: A parameter is unknown, or the model answers requests that name none.
        UnknownModel: It is not served.
    """
    for parameter in parameters:
        if parameter not in _UNLOAD_PARAMETERS:
            raise InvalidArgument(
                f"unloading takes no parameter {parameter[:40]!r}; expected {', '.join(_UNLOAD_PARAMETERS)}"
            )
    await doors.engine.unload(name)


def _entry(info: ModelInfo) -> Json:
    return {
        "name": info.name,
        "version": info.version,
        "state": _STATES[info.state],
        "reason": info.problem or ("" if info.state == "ready" else info.state),
    }
