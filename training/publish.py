"""Write what a run has learned as a checkpoint, with where it comes from.

It does not know how the weights came about.
"""

import datetime
import subprocess
from pathlib import Path
from typing import cast

import numpy as np
import torch

from model.checkpoint import save_checkpoint
from model.decoder import DepthOutput
from model.foundation import TokenGrids
from model.metadata import CheckpointMetadata, DepthScale, Parent, Provenance, file_sha256
from model.network import StudentNet, TeacherNet
from training.alignment import median_ratio
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.loader import BatchLoader

_FARTHEST_M = 80.0


def publish(
    path: Path,
    network: TeacherNet | StudentNet,
    config: TrainConfig,
    *,
    data: tuple[str, ...],
    steps: int,
    hours: float,
    scale: DepthScale,
) -> CheckpointMetadata:
    """Write a checkpoint and return its description.

    Args:
        path: The file.
        network: With the weights to write.
        config: Of the run.
        data: What it was trained on, as data sets describe themselves.
        steps: How many were done.
        hours: That took.
        scale: What one unit of depth is worth.
    """
    parents = [
        Parent(role=role, sha256=file_sha256(file))
        for role, file in (("teacher", config.teacher), ("initial", config.initial))
        if file is not None
    ]
    provenance = Provenance(
        data=data,
        recipe=config.recipe,
        steps=steps,
        seed=config.seed,
        commit=_commit(),
        parents=tuple(parents),
        trained_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hours=round(hours, 2),
    )
    metadata = CheckpointMetadata(config=config.model, scale=scale, provenance=provenance)
    return save_checkpoint(path, network, metadata)


@torch.no_grad()
def fit_scale(
    network: TeacherNet | StudentNet, loader: BatchLoader, device: torch.device, batches: int = 32
) -> DepthScale:
    """Find what a unit of the network's depth is worth, on training frames.

    The median over frames with measured depth that is not a label; without any, one metre where poses or
    labels were given in metres, and relative where nothing was.

    Args:
        network: Whose depth.
        loader: Of training batches.
        device: Of the network.
        batches: How many are looked at.
    """
    training = network.training
    network.eval()
    ratios: list[float] = []
    metric = False
    for step in range(batches):
        batch = loader.batch_at(step)
        metric = metric or bool(batch.pose_known.any()) or bool(batch.depth_is_label.any())
        if batch.depth_m is not None and not bool(batch.depth_is_label.all()):
            ratios += _ratios(network, batch, device)
    network.train(training)
    if ratios:
        return DepthScale(unit="metre", metres_per_unit=float(np.median(ratios)))
    return DepthScale(unit="metre", metres_per_unit=1.0) if metric else DepthScale()


def _ratios(network: TeacherNet | StudentNet, batch: Batch, device: torch.device) -> list[float]:
    """Return true over predicted median depth of each frame that was measured."""
    here = batch.to(device)
    tokens = cast(TokenGrids | None, here.tokens)
    output: DepthOutput = (
        network(here.image, tokens) if isinstance(network, TeacherNet) else network(here.image)
    )
    ratios = []
    truths = () if batch.depth_m is None else batch.depth_m
    for disparity, truth, is_label in zip(output.disparity, truths, batch.depth_is_label, strict=True):
        truth_m = truth.numpy()
        seen = (truth_m > 0) & (truth_m < _FARTHEST_M)
        if seen.any() and not bool(is_label):
            ratios.append(median_ratio(disparity.cpu().numpy()[seen], truth_m[seen]))
    return ratios


def _commit() -> str:
    """Return the code's commit; empty where this is no checkout."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git there is
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
