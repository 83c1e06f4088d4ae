"""`depth-train RECIPE --data ...`: print the plan, train, write the checkpoint.

It does not know losses or networks, only in which order the parts of a run are put together.
"""

import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import tyro
from torch._dynamo.exc import TorchDynamoException

from model.foundation import FoundationEncoder
from model.metadata import CheckpointError, DepthScale, Parent, read_metadata
from training.config import TrainConfig
from training.data.augment import NO_AUGMENTATION
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.data.loader import BatchLoader, LoaderConfig
from training.data.mixture import Mixture
from training.data.tokens import TokenCache, TokensError, cache_tokens
from training.distributed import Process, joined, wait_for_all
from training.failure import TrainingDiverged
from training.networks import Networks, build_networks
from training.plan import print_plan
from training.publish import find_parents, fit_scale, publish
from training.recipes import NEEDS, RECIPES
from training.run_log import duration
from training.run_state import RunStateError
from training.semantics import ProbeError
from training.sources import help_text, open_sources
from training.trainer import Finished, Trainer
from training.validation import Validated

_log = logging.getLogger(__name__)

_USER_ERRORS = (
    CheckpointError,
    FrameError,
    LayoutError,
    ProbeError,
    RunStateError,
    TokensError,
    TrainingDiverged,
    ValueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: done, or stopped by a signal and saved; 1: an error that was explained."""
    config = _parse(arguments)
    with joined(config.operation.device) as process:
        logging.basicConfig(
            level=logging.INFO if process.leads else logging.WARNING,
            format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout,
        )  # fmt: skip
        try:
            train(config, process)
        except _USER_ERRORS as error:
            _log.error("%s", error)
            return 1
        except TorchDynamoException as error:
            _log.error("torch.compile failed; leave --operation.compile out: %s", _in_short(error))
            return 1
    return 0


def _in_short(error: TorchDynamoException) -> str:
    """Return what a compiler's hundreds of lines begin with, and where it sees the error."""
    first, *others = str(error).splitlines() or [type(error).__name__]
    return "; ".join([first, *[line for line in others if "error:" in line][:1]])


def train(config: TrainConfig, process: Process) -> Finished | None:
    """Do a run from its settings to its checkpoint; None where only the plan was asked for."""
    if config.operation.threads:
        torch.set_num_threads(config.operation.threads)
    # 1. Look at all data, and at what it is taught by, before anything is computed.
    parents, taught_in = _look_at_parents(config)
    dataset, watched = _open_data(config)
    # 2. Networks, and tokens where they are kept.
    networks = build_networks(config, process.device)
    loader = _loader(config, dataset, networks, process, training=True)
    validation = None
    if watched is not None:
        validation = _loader(config, watched, networks, process, training=False)
    # 3. The plan, then the run.
    described = tuple(dataset.describe().splitlines())
    path = config.folder / f"{config.model.role}.safetensors"

    def write(to: Path) -> None:
        scale = fit_scale(networks.depth, loader, process.device, config.losses, teacher=taught_in)
        publish(
            to, networks.depth, config, data=described, steps=trainer.done, hours=trainer.seconds / 3600,
            scale=scale, parents=parents,
        )  # fmt: skip

    given = {"data": _digest(dataset)} | {parent.role: parent.sha256 for parent in parents}
    trainer = Trainer(
        config, networks, loader, validation, process, given, on_best=partial(_keep_best, path, write)
    )
    if process.leads:
        print_plan(config, networks, trainer, dataset, watched, process)
    if config.operation.plan_only:
        return None
    finished = trainer.run()
    if not finished.complete:
        _log.info("stopped after step %d, saved; the same command goes on from there", finished.step)
        return finished
    if process.leads:
        with trainer.averaged():
            write(path)
        _log.info("finished after %s: %s", duration(finished.seconds), path)
    wait_for_all(process)
    return finished


def _look_at_parents(config: TrainConfig) -> tuple[tuple[Parent, ...], DepthScale | None]:
    """Return what tells a run's checkpoints, and the unit of its teacher's depth."""
    need = NEEDS.get(config.recipe)
    if need is not None and getattr(config, need) is None:
        raise ValueError(f"{need} is None; the recipe {config.recipe} expects --{need} CHECKPOINT")
    parents = find_parents(config)
    return parents, None if config.teacher is None else read_metadata(config.teacher).scale


def _keep_best(path: Path, write: Callable[[Path], None], validated: Validated) -> None:
    best = path.with_stem(f"{path.stem}-best")
    try:
        write(best)
    except OSError as error:  # a full disk, say: the run's state has all of it
        _log.error("the best so far could not be kept: %s", error)
    else:
        _log.info("best so far, abs_rel %.4f: %s", validated.metrics.abs_rel, best)


def _open_data(config: TrainConfig) -> tuple[Mixture, Mixture | None]:
    dataset = open_sources(config.data)
    dataset.verify()
    watched = open_sources(config.validation) if config.validation else None
    if watched is not None:
        watched.verify()
    if config.losses.labels.weight and not dataset.seems_labelled():
        _log.warning("losses.labels has a weight, but no frame was found that has labels or hints")
    return dataset, watched


def _digest(dataset: Mixture) -> str:
    """Return a hash of the samples' keys in their order, by which a run knows its data again."""
    return hashlib.sha256("\n".join(dataset.keys).encode()).hexdigest()[:16]


def _parse(arguments: Sequence[str] | None) -> TrainConfig:
    recipes = {name: ((recipe.__doc__ or "").strip(), recipe()) for name, recipe in RECIPES.items()}
    return tyro.extras.overridable_config_cli(
        recipes,
        prog="depth-train",
        description=f"Train a depth network from video.\n\n{help_text()}",
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )


def _loader(
    config: TrainConfig, dataset: Mixture, networks: Networks, process: Process, *, training: bool
) -> BatchLoader:
    operation, model = config.operation, config.model
    settings = LoaderConfig(
        height=model.height,
        width=model.width,
        batch_size=config.batch.size,
        augment=config.batch.augment if training else NO_AUGMENTATION,
        threads=operation.loader_threads,
        prefetch=2 * operation.loader_threads,
        cache_bytes=operation.cache_bytes,
    )
    foundation = networks.frozen.foundation
    tokens = None
    augment = config.batch.augment
    if augment.crop and augment.resampled_tokens and foundation is not None and operation.tokens is None:
        raise ValueError("augment.resampled_tokens takes tokens from a cache; expected operation.tokens")
    if operation.tokens is not None and foundation is not None:
        tokens = _cached_tokens(config, dataset, foundation, process, training=training)
    if not training:
        # The first process validates alone, on all frames.
        return BatchLoader(dataset, settings, config.seed, tokens=tokens)
    return BatchLoader(dataset, settings, config.seed, process.rank, process.world_size, tokens=tokens)


def _cached_tokens(
    config: TrainConfig,
    dataset: Mixture,
    foundation: FoundationEncoder,
    process: Process,
    *,
    training: bool,
) -> TokenCache:
    """Compute the tokens that are missing, each process a part."""
    folder = config.operation.tokens
    if folder is None:
        raise ValueError("operation.tokens is None; expected a folder")
    height, width = config.model.height, config.model.width
    cache = TokenCache.of(folder, foundation, height, width, bfloat16=config.precision == "bfloat16")
    flips = (False, True) if training and config.batch.augment.flip else (False,)
    if missing := len(cache.missing(dataset.keys, flips)):
        _log.info("computing the tokens of %d images into %s", missing, folder)
    cache_tokens(
        dataset, foundation, cache, flips=flips, device=process.device,
        rank=process.rank, world_size=process.world_size,
    )  # fmt: skip
    wait_for_all(process)
    return cache


if __name__ == "__main__":
    sys.exit(main())
