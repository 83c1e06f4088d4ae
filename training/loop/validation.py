"""Watch a run by depth that was measured: the median-scaled error on frames that training never sees.

At the network's size and without a protocol's crop, so it serves to compare steps of one run;
`training.judge.evaluate` judges by the published protocols.
"""

from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from jaxtyping import Float32

from model.decoder import DepthOutput
from model.disparity import disparity_to_depth
from model.network import StudentNet, TeacherNet
from training.data.batch import Batch
from training.data.loader import BatchLoader
from training.judge.alignment import median_ratio
from training.judge.metrics import Metrics, mean, measure

_NEAREST_M, _FARTHEST_M = 1e-3, 80.0


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What came of the validation frames."""

    metrics: Metrics
    """Median-scaled; each set counts the same, and so does each frame in it."""
    sets: tuple[Metrics | None, ...] = ()
    """Of each data set, in their order; None where nothing was measured in one."""
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
    sets: list[list[Metrics]] = [[] for _ in loader.lengths]
    scales: list[float] = []
    set_of = chain.from_iterable([one] * length for one, length in zip(sets, loader.lengths, strict=True))
    for batch in loader.in_order():
        here = list(islice(set_of, len(batch.keys)))
        if batch.depth_m is None:
            continue
        disparities = _disparities(network, batch.to(device))
        for disparity, truth_m, found in zip(disparities, batch.depth_m.numpy(), here, strict=True):
            measured = (truth_m > _NEAREST_M) & (truth_m < _FARTHEST_M)
            if measured.any():
                scale = median_ratio(disparity[measured], truth_m[measured])
                depth_m = np.clip(disparity_to_depth(disparity[measured], scale), _NEAREST_M, _FARTHEST_M)
                found.append(measure(truth_m[measured], depth_m))
                scales.append(scale)
    network.train(training)
    if not scales:
        return None
    middle = float(np.median(scales))
    each = tuple(mean(found) if found else None for found in sets)
    return Validated(
        metrics=mean([one for one in each if one is not None]),
        sets=each,
        scale=middle,
        scale_spread=float(np.std(scales)) / middle,
        frames=len(scales),
    )


def _disparities(
    network: TeacherNet | StudentNet, batch: Batch
) -> Float32[np.ndarray, "batch 1 height width"]:
    if isinstance(network, TeacherNet):
        output: DepthOutput = network(batch.image, batch.tokens)
    else:
        output = network(batch.image)
    disparity: Float32[np.ndarray, "batch 1 height width"] = output.disparity.cpu().numpy()
    return disparity
