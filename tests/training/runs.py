"""Runs of the tiny student on the wall, as tests start them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training.worlds import WallWorld, tiny_config
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.loader import BatchLoader, LoaderConfig
from training.loop.distributed import joined
from training.loop.run_state import saved_states
from training.loop.trainer import Finished, Trainer
from training.step.assembly import build_networks


class HookedLoader(BatchLoader):
    """Shows each batch to a hook, with its number, before it is used."""

    hook: Callable[[int, Batch], Batch] = staticmethod(lambda number, batch: batch)

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(super().batches(start_step), start_step):
            yield self.hook(number, batch)


def trainer_of(
    config: TrainConfig, process, ahead: bool | None = None, **world: object
) -> tuple[Trainer, HookedLoader]:
    """A trainer on the wall, and its loader."""
    torch.set_num_threads(1)
    model = config.model
    settings = LoaderConfig(
        height=model.height, width=model.width, batch_size=config.batch.size, augment=config.batch.augment,
        threads=1, prefetch=1, pin_memory=False,
    )  # fmt: skip
    loader = HookedLoader(WallWorld(**world), settings, config.seed, process.rank, process.world_size)
    networks = build_networks(config, process.device)
    return Trainer(config, networks, loader, None, process, {"data": "wall"}, ahead=ahead), loader


def run(
    folder: Path,
    *,
    steps: int = 6,
    hook: Callable[[Trainer, int, Batch], Batch] | None = None,
    config: TrainConfig | None = None,
    ahead: bool | None = None,
) -> Finished:
    """Train; the hook sees every batch."""
    config = tiny_config(folder) if config is None else config
    config = replace(config, schedule=replace(config.schedule, steps=steps))
    with joined("cpu") as process:
        trainer, loader = trainer_of(config, process, ahead)
        if hook is not None:
            loader.hook = lambda number, batch: hook(trainer, number, batch)
        return trainer.run()


def last_state(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's last state."""
    return load_file(saved_states(folder)[-1])
