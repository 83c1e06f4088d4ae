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
from model.metadata import (
    CheckpointError,
    CheckpointMetadata,
    DepthScale,
    Parent,
    Provenance,
    file_sha256,
)
from model.network import StudentNet, TeacherNet
from training.alignment import median_ratio
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.loader import BatchLoader
from training.losses.config import LossesConfig

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
    parents: tuple[Parent, ...] = (),
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
        parents: Of which checkpoints it learned, or began from; see `find_parents`.
    """
    provenance = Provenance(
        data=data,
        recipe=config.recipe,
        steps=steps,
        seed=config.seed,
        commit=_commit(),
        parents=parents,
        trained_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hours=round(hours, 2),
    )
    metadata = CheckpointMetadata(config=config.model, scale=scale, provenance=provenance)
    return save_checkpoint(path, network, metadata)


def find_parents(config: TrainConfig) -> tuple[Parent, ...]:
    """Hash the checkpoints that a run learns from, as they are now.

    Raises:
        CheckpointError: One cannot be read.
    """
    parents = []
    for role, path in (("teacher", config.teacher), ("initial", config.initial)):
        if path is not None:
            try:
                parents.append(Parent(role=role, sha256=file_sha256(path)))
            except OSError as error:
                raise CheckpointError(path, f"cannot be read ({error.strerror or error})") from error
    return tuple(parents)


@torch.no_grad()
def fit_scale(
    network: TeacherNet | StudentNet,
    loader: BatchLoader,
    device: torch.device,
    losses: LossesConfig,
    *,
    teacher: DepthScale | None = None,
    batches: int = 32,
) -> DepthScale:
    """Find what a unit of the network's depth is worth, on training frames.

    The median over frames with measured depth that is not a label; without any, one metre where labels taught
    or view synthesis had poses in metres, else what the teacher's unit is worth; and relative without one.

    Args:
        network: Whose depth.
        loader: Of training frames, which are looked at as they were photographed.
        device: Of the network.
        losses: Which of them taught.
        teacher: The scale of the one that the network was distilled from.
        batches: How many are looked at.
    """
    training = network.training
    network.eval()
    ratios: list[float] = []
    metric = False
    for step in range(batches):
        batch = loader.photographed_at(step)
        metric = metric or (losses.synthesis.weight > 0 and bool(batch.pose_known.any()))
        metric = metric or (losses.labels.weight > 0 and bool(batch.depth_is_label.any()))
        if batch.depth_m is not None and not bool(batch.depth_is_label.all()):
            ratios += _ratios(network, batch, device)
    network.train(training)
    if ratios:
        return DepthScale(unit="metre", metres_per_unit=float(np.median(ratios)))
    return DepthScale(unit="metre", metres_per_unit=1.0) if metric else teacher or DepthScale()


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
