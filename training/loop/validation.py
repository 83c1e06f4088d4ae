"""Watch a run by depth that was measured: the median-scaled error on frames that training never sees.

At the network's size, without a crop and within Garg's, so it serves to compare steps of one run;
`training.judge.evaluate` judges by the published protocols.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice

import numpy as np
import torch
from jaxtyping import Float32

from model.decoder import DepthOutput
from model.disparity import disparity_to_depth
from model.network import StudentNet, TeacherNet
from training.data.batch import Batch
from training.data.loader import BatchLoader
from training.data.preflight import FARTHEST_M, NEAREST_M
from training.judge.alignment import median_ratio
from training.judge.metrics import Metrics, mean, measure
from training.judge.protocols.folder import FOLDER, Crop
from training.loop.run_log import RunLog

_log = logging.getLogger(__name__)

_WITHIN: Mapping[Crop, str] = {"none": "without a crop", "garg": "within Garg's crop"}


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What came of the validation frames within one crop."""

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
def validate(
    network: TeacherNet | StudentNet, loader: BatchLoader, device: torch.device
) -> Mapping[Crop, Validated]:
    """Predict every frame of a loader that has measured depth.

    Returns:
        What came of it by the crop within which pixels count; none of a crop in which nothing was measured.
    """
    training = network.training
    network.eval()
    watches = {crop: _Watch(crop, len(loader.lengths)) for crop in FOLDER}
    set_of = chain.from_iterable([one] * length for one, length in enumerate(loader.lengths))
    for batch in loader.in_order():
        here = list(islice(set_of, len(batch.keys)))
        if batch.depth_m is None:
            continue
        disparities = _disparities(network, batch.to(device))
        for disparity, truth_m, number in zip(disparities, batch.depth_m.numpy(), here, strict=True):
            for watch in watches.values():
                watch.take(disparity[0], truth_m[0], number)
    network.train(training)
    return {crop: watch.validated() for crop, watch in watches.items() if watch.scales}


def say_validated(log: RunLog, step: int, found: Mapping[Crop, Validated], crop: Crop) -> None:
    """Write what came of the validation frames within each crop, first of all within that which chooses."""
    values: dict[str, float] = {}
    errors = []
    for name in sorted(found, key=lambda one: one != crop):
        one = found[name]
        each = [math.nan if metrics is None else metrics.abs_rel for metrics in one.sets]
        values[f"abs_rel_{name}"] = one.metrics.abs_rel
        ending = f"_{name}"
        if name == crop:
            values |= asdict(one.metrics) | {"scale": one.scale, "spread": one.scale_spread}
            ending = ""
        if len(each) > 1:
            values |= {f"abs_rel{ending}/{number}": error for number, error in enumerate(each, 1)}
        sets = f" (of sets: {', '.join(f'{error:.4f}' for error in each)})" if len(each) > 1 else ""
        errors.append(f"{one.metrics.abs_rel:.4f}{sets} {_WITHIN[name]}")
    log.scalars(step, values, group="validation")
    first = found.get(crop)
    rest = "nothing was measured within that crop"
    if first is not None:
        rest = f"delta1 {first.metrics.delta1:.3f}  scale {first.scale:.3f} (spread {first.scale_spread:.0%})"
    frames = max(one.frames for one in found.values())
    _log.info("validation after step %d: abs_rel %s  %s  %d frames", step, ", ".join(errors), rest, frames)


class _Watch:
    """What comes of the frames within one crop."""

    def __init__(self, crop: Crop, sets: int) -> None:
        self._window = FOLDER[crop].window
        self._sets: list[list[Metrics]] = [[] for _ in range(sets)]
        self.scales: list[float] = []

    def take(
        self,
        disparity: Float32[np.ndarray, "height width"],
        truth_m: Float32[np.ndarray, "height width"],
        number: int,
    ) -> None:
        """Measure a frame of one of the sets."""
        window = self._window(*truth_m.shape)
        disparity, truth_m = disparity[window], truth_m[window]
        measured = (truth_m > NEAREST_M) & (truth_m < FARTHEST_M)
        if measured.any():
            scale = median_ratio(disparity[measured], truth_m[measured])
            depth_m = np.clip(disparity_to_depth(disparity[measured], scale), NEAREST_M, FARTHEST_M)
            self._sets[number].append(measure(truth_m[measured], depth_m))
            self.scales.append(scale)

    def validated(self) -> Validated:
        """Return what came of them, of which there is at least one."""
        middle = float(np.median(self.scales))
        each = tuple(mean(found) if found else None for found in self._sets)
        return Validated(
            metrics=mean([one for one in each if one is not None]),
            sets=each,
            scale=middle,
            scale_spread=float(np.std(self.scales)) / middle,
            frames=len(self.scales),
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
