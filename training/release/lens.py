"""Note in a checkpoint for which lens its metres hold, with its weights untouched.

    python -m training.release.lens model/pretrained/student.safetensors --fy-per-height 1.92

Training notes it by itself; this is for checkpoints that were written before it did, and for corrections.
"""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from model.metadata import CheckpointError, CheckpointMetadata
from training.judge.stamp import redescribe

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LensConfig:
    """What is noted, and where."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A metric one."""
    fy_per_height: float | None
    """The vertical focal length over the height of the pictures it was trained on, both in pixels; None where
    these came through several lenses."""


def note_lens(path: Path, fy_per_height: float | None) -> CheckpointMetadata:
    """Write the lens into the description and return that.

    Raises:
        CheckpointError: The file is not a checkpoint, or cannot be replaced.
        ValueError: Its depth is relative, or the ratio is not positive.
    """
    return redescribe(
        path,
        lambda metadata: dataclasses.replace(
            metadata, scale=dataclasses.replace(metadata.scale, fy_per_height=fy_per_height)
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = tyro.cli(LensConfig, args=arguments, prog="python -m training.release.lens", description=__doc__)
    try:
        note_lens(config.checkpoint, config.fy_per_height)
    except (CheckpointError, ValueError) as error:
        _log.error("%s", error)
        return 1
    _log.info("%s says fy / height = %s", config.checkpoint, config.fy_per_height)
    return 0


if __name__ == "__main__":
    sys.exit(main())
