"""Write what a run has learned as a checkpoint, with where it comes from."""

import datetime
import logging
import re
import subprocess
from pathlib import Path
from typing import cast

import numpy as np
import torch

from model.checkpoint import save_checkpoint
from model.checksums import file_sha256
from model.decoder import DepthOutput
from model.foundation import TokenGrids
from model.licences import strictest
from model.metadata import (
    CheckpointError,
    CheckpointMetadata,
    DepthScale,
    LearnedCamera,
    Parent,
    Provenance,
    read_metadata,
)
from model.network import StudentNet, TeacherNet
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.loader import BatchLoader
from training.judge.alignment import median_ratio
from training.losses.config import LossesConfig
from training.networks.described import is_described, look_at

_log = logging.getLogger(__name__)
_FARTHEST_M = 80.0
_ABSOLUTE = re.compile(r"(?<![\w.~])/[^\s:,()?&]+")
"""A path from the root of the file system, as it stands in a line of text."""
_ONE_LENS = 1.05
"""Lenses whose focal lengths differ by less are one: metres are then at most 2.5 % off for either."""


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
    cameras: tuple[LearnedCamera, ...] = (),
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
        cameras: Those that were learned with it.
    """
    provenance = Provenance(
        data=tuple(without_folders(line) for line in data),
        recipe=config.recipe,
        steps=steps,
        seed=config.seed,
        commit=_commit(),
        parents=parents,
        trained_on=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hours=round(hours, 2),
    )
    metadata = CheckpointMetadata(
        config=config.model,
        scale=scale,
        provenance=provenance,
        cameras=cameras,
        licence=strictest(parent.licence for parent in parents),
    )
    return save_checkpoint(path, network, metadata)


def without_folders(text: str) -> str:
    """Return a description with each absolute path cut to its last name."""
    return _ABSOLUTE.sub(lambda path: path[0].rstrip("/").rpartition("/")[2], text)


def find_parents(config: TrainConfig) -> tuple[Parent, ...]:
    """Hash the checkpoints that a run learns from, as they are now, and note what their licences ask.

    Raises:
        CheckpointError: One cannot be read.
    """
    parents = []
    for role, path in (("teacher", config.teacher), ("initial", config.initial)):
        if path is not None:
            if role == "teacher" and is_described(path):
                taught = look_at(path)
                parents.append(Parent(role=role, sha256=taught.sha256, licence=taught.licence))
                continue
            try:
                licence = read_metadata(path).inherited_licence()
                parents.append(Parent(role=role, sha256=file_sha256(path), licence=licence))
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
    """Find what a unit of the network's depth is worth, and for which lens, on training frames.

    The median over frames with measured depth that is not a label; without any, the loader's unit where
    labels taught or view synthesis had poses in metres, else what the teacher's unit is worth; and relative
    without one.

    Args:
        network: Whose depth.
        loader: Of training frames, which are looked at as they were photographed.
        device: Of the network.
        losses: Which of them taught.
        teacher: The scale of the one that the network was distilled from. An affine one leaves a network
            affine that learned from nothing else; views and labels tell the shift.
        batches: How many are looked at.
    """
    training = network.training
    network.eval()
    ratios: list[float] = []
    lenses: list[float] = []
    metric = False
    if teacher is not None and teacher.affine:
        if not losses.synthesis.weight and not losses.labels.weight:
            return teacher  # whatever was measured: two numbers are unknown, and a median finds one
        teacher = None
    for step in range(batches):
        batch = loader.photographed_at(step)
        lenses += _lenses(batch)
        metric = metric or (losses.synthesis.weight > 0 and bool(batch.pose_known.any()))
        metric = metric or (losses.labels.weight > 0 and bool(batch.depth_is_label.any()))
        if batch.depth_m is not None and not bool(batch.depth_is_label.all()):
            ratios += _ratios(network, batch, device)
    network.train(training)
    if not ratios and not metric:
        return teacher or DepthScale()
    worth_m = loader.config.metres_per_unit * (float(np.median(ratios)) if ratios else 1.0)
    return DepthScale(unit="metre", metres_per_unit=worth_m, fy_per_height=_lens(loader, lenses))


def _lenses(batch: Batch) -> list[float]:
    """Return the vertical focal length over the height of each image; NaN where it is not known."""
    ratios = batch.intrinsics[:, 1, 1] / batch.image.shape[2]
    if batch.intrinsics_known is not None:
        ratios = torch.where(batch.intrinsics_known, ratios, torch.nan)
    found: list[float] = ratios.tolist()
    return found


def _lens(loader: BatchLoader, lenses: list[float]) -> float | None:
    """Return the one lens that metres hold for, or None where there is no such one."""
    config = loader.config
    if config.canonical_fy_per_height is not None:
        return config.canonical_fy_per_height
    zoom = config.augment.max_zoom if config.augment.crop else 1.0
    least, most = float(np.min(lenses)), float(np.max(lenses)) * zoom  # NaN stays, and fails what follows
    if most <= _ONE_LENS * least:
        return float(np.median(lenses))
    _log.warning(
        "no lens is noted for the metres: training saw fy / height from %.3g to %.3g, crops included; "
        "--batch.canonical-fy-per-height brings all to one",
        least, most,
    )  # fmt: skip
    return None


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
