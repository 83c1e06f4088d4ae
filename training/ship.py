"""Make the checkpoint that is handed out from the one that a run wrote: small, licensed, free of local paths.

    python -m training.ship RUN/student.safetensors --output model/pretrained/student.safetensors
        --licence "CC BY-NC-SA 3.0" --data "KITTI raw drive 0013: 144 stereo pairs" --metres-per-unit 1.04

It does not know how good the network is; `depth-evaluate --stamp` writes that afterwards.
"""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import CheckpointError, CheckpointMetadata, DepthScale
from model.weights import WeightsSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShipConfig:
    """What is handed out, and what is said of it."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """As a training run wrote it."""
    output: Path
    """Where the file goes that is handed out."""
    licence: str
    """Of the weights, which follows from the data."""
    data: tuple[str, ...]
    """What it was trained on, in words for others: a run's own description names folders of one machine."""
    metres_per_unit: float | None = None
    """What a unit of depth is worth: what `depth-evaluate` measures on training frames, true over predicted,
    times what the checkpoint says already; or what it says, where None."""
    notes: str = ""
    """Hardware, and whatever else a reader should know."""
    foundation_weights: WeightsSource = "hub"
    """A teacher's; they stay out of the file."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of matrices and kernels."""


def ship(config: ShipConfig) -> CheckpointMetadata:
    """Write the file and return its description.

    A student loses its train-only heads; a teacher keeps them, because students are distilled from it.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ValueError: There is no data, or the scale is not positive.
    """
    if not config.data:
        raise ValueError("data is empty; expected at least one sequence in words")
    network, metadata = load_checkpoint(config.checkpoint, foundation_weights=config.foundation_weights)
    scale = metadata.scale
    if config.metres_per_unit is not None:
        scale = DepthScale(unit="metre", metres_per_unit=config.metres_per_unit)
    provenance = dataclasses.replace(metadata.provenance, data=config.data, notes=config.notes)
    described = dataclasses.replace(
        metadata, scale=scale, provenance=provenance, licence=config.licence, accuracy=()
    )
    keep_heads = metadata.config.role == "teacher" and metadata.storage.train_only_heads
    return save_checkpoint(config.output, network, described, dtype=config.dtype, train_only_heads=keep_heads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = tyro.cli(ShipConfig, args=arguments, prog="python -m training.ship", description=__doc__)
    try:
        ship(config)
    except (CheckpointError, ValueError) as error:
        _log.error("%s", error)
        return 1
    _log.info("wrote %s, %.1f MB", config.output, config.output.stat().st_size / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
