"""A run's state on disk: everything that the next step depends on, whole or not at all.

One safetensors file a state, with the rest as JSON in its header; nothing is ever unpickled. Random numbers
need no state, because every step seeds its own.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.atomic import replacing
from training.config import differences

_log = logging.getLogger(__name__)

_METADATA = "run_state"
_VERSION = 1
_KEPT = 2
_NAME = re.compile(r"state-(\d{8})\.safetensors")


class RunStateError(Exception):
    """A run that cannot be resumed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What is known of a run besides its tensors."""

    step: int
    """How many steps are done."""
    settings: Mapping[str, Any]
    """All that decides the weights, flat, by dotted name."""
    seconds: float
    """Spent on training so far."""
    best: float | None
    """The best validation error so far."""
    best_by: tuple[str, ...] = ()
    """The crop and the lines of data by which that was measured; another choice begins anew."""
    recent_losses: tuple[float, ...] = ()
    """By which an exploding loss is known."""


def save_run_state(folder: Path, state: RunState, tensors: Mapping[str, Tensor]) -> Path:
    """Write a state, and remove all but the last two.

    Only a state that is whole on the disk takes its name, so a run that is killed at any moment resumes from
    one of the two.
    """
    path = folder / f"state-{state.step:08d}.safetensors"
    description = json.dumps({"version": _VERSION, **asdict(state)})
    with replacing(path) as partial:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(plain, partial, metadata={_METADATA: description})
    for old in saved_states(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    for leftover in folder.glob(".state-*.partial"):
        leftover.unlink(missing_ok=True)
    return path


def saved_states(folder: Path) -> list[Path]:
    """Return the states in a folder, oldest first."""
    return sorted(path for path in folder.glob("state-*.safetensors") if _NAME.fullmatch(path.name))


def load_run_state(folder: Path, settings: Mapping[str, Any]) -> tuple[RunState, dict[str, Tensor]] | None:
    """Read the last state; None where there is none.

    Args:
        folder: Of the run.
        settings: Of the run that wants to go on.

    Raises:
        RunStateError: The last state is damaged, or its settings differ; the message names each.
    """
    paths = saved_states(folder)
    if not paths:
        return None
    path = paths[-1]
    try:
        with safe_open(path, "pt") as file:
            described = json.loads((file.metadata() or {})[_METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise RunStateError(
            f"{path}: cannot be read ({error}); delete it to go on from the one before"
        ) from error
    if described.pop("version", None) != _VERSION:
        raise RunStateError(f"{path}: written by another version of this program")
    sequences = {name: tuple(described.get(name, ())) for name in ("recent_losses", "best_by")}
    state = RunState(**(described | sequences))
    if changed := differences(state.settings, settings):
        raise RunStateError(
            f"{path.parent} holds a run with other settings; expected the same, or another folder\n  "
            + "\n  ".join(changed)
        )
    _log.info("resuming after step %s from %s", state.step, path)
    return state, tensors
