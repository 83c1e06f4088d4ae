"""Which options of `depth-evaluate` a protocol takes; one that would change nothing is refused by name."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from training.judge.protocols.protocol import JudgingError
from training.judge.protocols.truth_files import CITYSCAPES_DISPARITY

PROTOCOLS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "kitti-eigen": frozenset({"split"}),
        "kitti-improved": frozenset({"split", "ground_truth"}),
        "cityscapes": frozenset(),
        "make3d": frozenset(),
        "nyu": frozenset(),
        "folder": frozenset(
            {"ground_truth", "depth_scale", "min_depth", "max_depth", "gap", "crop", "calibration"}
        ),
    }
)
"""Every protocol's own options; all other options are for all protocols."""

_OF_BASELINES = ("baseline_data", "camera_height")
"""What tells of planes, and nothing of anything else."""


def refuse_unused(command: Any) -> None:
    """Refuse options that were given and would be ignored.

    Args:
        command: The dataclass of options, with a default for each that may be left out.

    Raises:
        JudgingError: Naming the first of them, and what takes it.
    """
    given = {one.name for one in dataclasses.fields(command) if getattr(command, one.name) != one.default}
    own = frozenset[str]().union(*PROTOCOLS.values())
    for name in sorted(given & (own - PROTOCOLS[command.protocol])):
        takers = " and ".join(protocol for protocol, taken in PROTOCOLS.items() if name in taken)
        raise JudgingError(f"{_option(name)} is for --protocol {takers}, not {command.protocol}")
    if command.baselines:
        return
    for name in _OF_BASELINES:
        if name in given:
            raise JudgingError(f"{_option(name)} is of the planes of --baselines; expected both, or neither")
    if "calibration" in given and command.depth_scale != CITYSCAPES_DISPARITY:
        raise JudgingError(
            f"--calibration is for --baselines and --depth-scale {CITYSCAPES_DISPARITY}; "
            "expected one of them, or no --calibration"
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
