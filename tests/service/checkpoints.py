"""Small checkpoints with random weights, for a service to serve."""

from pathlib import Path

from model.checkpoint import save_checkpoint
from model.metadata import CheckpointMetadata, DepthScale
from tests.model.networks import lively


def write_checkpoint(
    path: Path,
    *,
    seed: int = 0,
    metres_per_unit: float | None = 2.0,
    fy_per_height: float | None = None,
    **overrides: object,
) -> Path:
    """Write a `tiny` student; metric where a unit's worth in metres is given."""
    network = lively("tiny", seed, **overrides)
    scale = DepthScale()
    if metres_per_unit is not None:
        scale = DepthScale(unit="metre", metres_per_unit=metres_per_unit, fy_per_height=fy_per_height)
    save_checkpoint(path, network, CheckpointMetadata(config=network.config, scale=scale))
    return path
