"""What a run is about to do: data, networks, losses, steps, and its measured time and memory."""

import dataclasses
import logging
import resource
from collections.abc import Iterator, Sequence

import torch

from training.config import TrainConfig
from training.data.mixture import Mixture
from training.loop.distributed import Process
from training.loop.run_log import duration
from training.loop.trainer import Trainer
from training.losses.config import FROM_A_TEACHER
from training.networks.described import DescribedTeacher
from training.step.assembly import Networks

_log = logging.getLogger(__name__)

_TIMED_STEPS = 3
_GIB = 2**30


def print_plan(
    config: TrainConfig,
    networks: Networks,
    trainer: Trainer,
    dataset: Mixture,
    watched: Mixture | None,
    process: Process,
) -> None:
    """Say what is planned. A few steps are computed and thrown away, to measure their time."""
    for line in _lines(config, networks, dataset, watched, process):
        _log.info("%s", line)
    # Processes would wait for each other's gradients, and only the first prints.
    if process.world_size > 1:
        return
    each_s = min(trainer.timed_step() for _ in range(_TIMED_STEPS))
    total = duration(each_s * config.schedule.steps)
    _log.info("time      %.0f ms a step: about %s, without validation", 1000 * each_s, total)
    _log.info("memory    %.1f GiB so far; resized frames may add %.1f GiB", _used_gib(), _cache_gib(config))


def _lines(
    config: TrainConfig, networks: Networks, dataset: Mixture, watched: Mixture | None, process: Process
) -> Iterator[str]:
    yield f"recipe    {config.recipe}, into {config.folder}"
    yield f"data      {len(dataset)} samples"
    yield from (f"          {line}" for line in dataset.describe().splitlines())
    if watched is not None:
        yield f"watched   {len(watched)} samples"
        yield from (f"          {line}" for line in watched.describe().splitlines())
    model = config.model
    parts = ", ".join(
        f"{name} {sum(p.numel() for p in part.parameters() if p.requires_grad) / 1e6:.2f} M"
        for name, part in networks.named_children()
    )
    yield f"network   {model.name} at {model.width}x{model.height}; trainable: {parts}"
    for camera in networks.learned_cameras:
        yield f"camera    {camera.name}: learned, from a field of view of {camera.fov_deg:.1f} degrees"
    teacher = networks.frozen.teacher
    taught: Sequence[str] = FROM_A_TEACHER if teacher is not None else ()
    if isinstance(teacher, DescribedTeacher):
        yield f"teacher   {teacher.description}"
        taught = teacher.losses
    yield f"losses    {', '.join(_weights(config, taught))}"
    schedule = config.schedule
    samples = schedule.steps * schedule.accumulation * config.batch.size
    each = (
        f"{schedule.accumulation} x {config.batch.size}" if schedule.accumulation > 1 else config.batch.size
    )
    yield f"steps     {schedule.steps} of {each} samples: {samples / len(dataset):.1f} passes over the data"
    processes = f"{process.world_size} processes" if process.world_size > 1 else "one process"
    yield f"machine   {process.device}, {processes}, {torch.get_num_threads()} threads, {config.precision}"


def _weights(config: TrainConfig, taught: Sequence[str]) -> Iterator[str]:
    for field in dataclasses.fields(config.losses):
        weight = getattr(getattr(config.losses, field.name), "weight", 0)
        if weight and (field.name in taught or field.name not in FROM_A_TEACHER):
            yield f"{field.name} {weight:g}"


def _used_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB


def _cache_gib(config: TrainConfig) -> float:
    return config.operation.cache_bytes / _GIB
