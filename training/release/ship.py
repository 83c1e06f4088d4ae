"""Make the checkpoint that is handed out from the one that a run wrote: small, licensed, free of local paths.

    python -m training.ship RUN/student.safetensors --output model/pretrained/student.safetensors
        --licence "CC BY-NC-SA 3.0" --data "KITTI raw drive 0013: 144 stereo pairs" --metres-per-unit 1.04

`depth-evaluate --stamp` writes that afterwards.
"""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Float32, UInt8

from model.checkpoint import load_checkpoint, save_checkpoint
from model.commands import explain, merged
from model.images import to_model_batch
from model.licences import looser
from model.metadata import CheckpointError, CheckpointMetadata, DepthScale
from model.network import StudentNet, TeacherNet
from model.weights import WeightsSource
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.data.sources import open_sources
from training.release.metres import Distance, Frames, by_distances, by_height

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
    frames: str = ""
    """The line of --data that it was trained on, or another: frames by which metres are fitted."""
    camera_height_m: float | None = None
    """Of the camera over the ground that `frames` show: fits the metres a unit, and says their spread."""
    known_distance: tuple[tuple[str, float, float, float], ...] = ()
    """Frame, x and y in its pixels, and the metres there, as often as known: 000012 320 180 7.5; likewise."""
    i_hold_the_rights: bool = False
    """Hand it out under a licence that asks for less than that of what it was made from."""
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
        ValueError: There is no data, the scale is not positive, or the licence is looser than a parent's.
    """
    if not config.data:
        raise ValueError("data is empty; expected at least one sequence in words")
    known = [
        config.metres_per_unit is not None,
        config.camera_height_m is not None,
        bool(config.known_distance),
    ]
    if sum(known) > 1:
        raise ValueError("expected one of metres_per_unit, camera_height_m and known_distance")
    if bool(config.frames) != (sum(known[1:]) == 1):
        raise ValueError(
            f"frames is {config.frames!r}; expected a line of data together with camera_height_m or "
            "known_distance, and only then"
        )
    network, metadata = load_checkpoint(config.checkpoint, foundation_weights=config.foundation_weights)
    _check_licence(config, metadata)
    scale = metadata.scale
    if config.metres_per_unit is not None:
        scale = dataclasses.replace(scale, unit="metre", metres_per_unit=config.metres_per_unit, affine=False)
    elif config.frames:
        scale = _measured(config, network, metadata)
    provenance = dataclasses.replace(metadata.provenance, data=config.data, notes=config.notes)
    described = dataclasses.replace(
        metadata, scale=scale, provenance=provenance, licence=config.licence, accuracy=()
    )
    keep_heads = metadata.config.role == "teacher" and metadata.storage.train_only_heads
    return save_checkpoint(config.output, network, described, dtype=config.dtype, train_only_heads=keep_heads)


def _check_licence(config: ShipConfig, metadata: CheckpointMetadata) -> None:
    """Refuse a licence that asks for less than a parent's."""
    inherited = metadata.inherited_licence()
    left_out = looser(config.licence, inherited)
    if left_out and not config.i_hold_the_rights:
        raise ValueError(
            f"licence is {config.licence!r}, which leaves out {' and '.join(sorted(left_out))}; the "
            f"weights were made from others under {inherited!r}; expected that, or --i-hold-the-rights"
        )


def _measured(
    config: ShipConfig, network: TeacherNet | StudentNet, metadata: CheckpointMetadata
) -> DepthScale:
    """Fit what a unit is worth on frames."""
    dataset = open_sources([config.frames], (metadata.config.height, metadata.config.width))
    dataset.verify()
    frames = Frames.of(dataset, metadata.config.height, metadata.config.width)
    network.eval()

    @torch.no_grad()
    def predict(image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
        planes = torch.from_numpy(to_model_batch([image], *image.shape[:2]))
        return 1 / network(planes).disparity[0, 0].numpy()  # type: ignore[no-any-return]

    if config.camera_height_m is not None:
        metres = by_height(predict, frames, metadata.cameras, config.camera_height_m)
    else:
        known = [Distance(key=key, x_px=x, y_px=y, metres=m) for key, x, y, m in config.known_distance]
        metres = by_distances(predict, frames, metadata.cameras, known)
    _log.info("%s", metres)
    return DepthScale(unit="metre", metres_per_unit=metres.per_unit, fy_per_height=metres.fy_per_height)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = tyro.cli(
        ShipConfig,
        args=merged(arguments, "--data", "--known-distance"),
        prog="python -m training.ship",
        description=__doc__,
    )
    try:
        ship(config)
    except (CheckpointError, FrameError, LayoutError, ValueError) as error:
        _log.error("%s", error)
        return 1
    except OSError as error:
        _log.error("%s", explain(error))
        return 1
    _log.info("wrote %s, %.1f MB", config.output, config.output.stat().st_size / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
