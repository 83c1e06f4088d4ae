"""The folder of models, for callers with the admin key: what is in it, what to load, what to drop.

A transport has checked the key before.
"""

from collections.abc import Iterable, Mapping

from service.contract.answer import ModelInfo, ModelState
from service.contract.errors import InvalidArgument
from service.kserve.objects import RepositoryEntry
from service.transports.frontend import Frontend

_STATES: Mapping[ModelState, str] = {
    "loading": "LOADING",
    "ready": "READY",
    "rebuilding": "UNAVAILABLE",
    "draining": "UNLOADING",
    "failed": "UNAVAILABLE",
}
_UNLOAD_PARAMETERS = ("unload_dependents",)
"""Means nothing here, where no model depends on another, but Triton's clients always send it."""


async def index(frontend: Frontend, *, only_ready: bool = False) -> list[RepositoryEntry]:
    """List what is served, and what lies in the folder and was unloaded."""
    infos = frontend.engine.models()
    served = {info.name for info in infos}
    away = [_away(name) for name in frontend.engine.away() if name not in served]
    listed = [*(_entry(info) for info in infos), *away]
    return [entry for entry in listed if entry["state"] == "READY" or not only_ready]


async def load(frontend: Frontend, name: str, parameters: Iterable[str]) -> None:
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
    await frontend.engine.reload(name)


async def unload(frontend: Frontend, name: str, parameters: Iterable[str]) -> None:
    """Finish what the model has accepted, then let it go.

    Raises:
        InvalidArgument: A parameter is unknown, or the model answers requests that name none.
        UnknownModel: It is not served.
    """
    for parameter in parameters:
        if parameter not in _UNLOAD_PARAMETERS:
            raise InvalidArgument(
                f"unloading takes no parameter {parameter[:40]!r}; expected {', '.join(_UNLOAD_PARAMETERS)}"
            )
    await frontend.engine.unload(name)


def _entry(info: ModelInfo) -> RepositoryEntry:
    return {
        "name": info.name,
        "version": info.version,
        "state": _STATES[info.state],
        "reason": info.problem or ("" if info.state == "ready" else info.state),
    }


def _away(name: str) -> RepositoryEntry:
    return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}
