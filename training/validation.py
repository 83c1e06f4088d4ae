"""Watch a run by depth that was measured: the median-scaled error on frames that training never sees.

At the network's size and without a protocol's crop, so it serves to compare steps of one run;
`training.evaluate` judges by the published protocols. It does not know losses.
"""

from dataclasses import dataclass

import numpy as np
import torch

from model.decoder import DepthOutput
from model.network import StudentNet, TeacherNet
from training.alignment import median_ratio
from training.data.loader import BatchLoader
from training.metrics import Metrics, mean, measure

_NEAREST_M, _FARTHEST_M = 1e-3, 80.0


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What came of the validation frames."""

    metrics: Metrics
    """Median-scaled, each frame counting the same."""
    scale: float
    """The median over frames of true over predicted median depth: metres per unit."""
    scale_spread: float
    """The standard deviation over frames of that, relative to it."""
    frames: int


@torch.no_grad()
def validate(network: TeacherNet | StudentNet, loader: BatchLoader, device: torch.device) -> Validated | None:
    """Predict every frame of a loader that has measured depth; None where none has."""
    training = network.training
    network.eval()
    per_frame: list[Metrics] = []
    scales: list[float] = []
    for batch in loader.in_order():
        if batch.depth_m is None:
            continue
        here = batch.to(device)
        if isinstance(network, TeacherNet):
            output: DepthOutput = network(here.image, here.tokens)
        else:
            output = network(here.image)
        for disparity, truth_m in zip(output.disparity.cpu().numpy(), batch.depth_m.numpy(), strict=True):
            measured = (truth_m > _NEAREST_M) & (truth_m < _FARTHEST_M)
            if measured.any():
                scale = median_ratio(disparity[measured], truth_m[measured])
                depth_m = np.clip(scale / disparity[measured], _NEAREST_M, _FARTHEST_M)
                per_frame.append(measure(truth_m[measured], depth_m))
                scales.append(scale)
    network.train(training)
    if not per_frame:
        return None
    middle = float(np.median(scales))
    return Validated(
        metrics=mean(per_frame),
        scale=middle,
        scale_spread=float(np.std(scales)) / middle,
        frames=len(per_frame),
    )
