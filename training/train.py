"""`depth-train RECIPE --data ...`: print the plan, train, write the checkpoint."""

import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import tyro
from torch._dynamo.exc import TorchDynamoException

from model.commands import LogLines, ending_with_its_reader, explain, merged
from model.foundation import FoundationEncoder
from model.metadata import CheckpointError, DepthScale, Parent, read_metadata
from training.config import TrainConfig
from training.data.augment import NO_AUGMENTATION
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.data.loader import BatchLoader, LoaderConfig
from training.data.mixture import Mixture
from training.data.preflight import (
    check_measured,
    check_neighbours,
    check_shown,
    learned_cameras,
    warn_of_shared,
)
from training.data.sources import foretell, help_text, open_sources
from training.data.tokens import TokenCache, TokensError, cache_tokens
from training.loop.distributed import Process, joined, wait_for_all
from training.loop.failure import TrainingDiverged
from training.loop.plan import print_plan
from training.loop.run_log import duration
from training.loop.run_state import RunStateError
from training.loop.trainer import Finished, Trainer
from training.loop.validation import Validated
from training.networks.described import is_described, look_at
from training.networks.semantics import ProbeError
from training.recipes import NEEDS, RECIPES
from training.release.publish import find_parents, fit_scale, publish
from training.step.assembly import Networks, build_networks

_log = logging.getLogger(__name__)

_FILES_LOOKED_AT = 64
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


@ending_with_its_reader()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: done, or stopped by a signal and saved; 1: an error that was explained."""
    config = _parse(arguments)
    with joined(config.operation.device) as process:
        logging.basicConfig(
            level=logging.INFO if process.leads else logging.WARNING,
            format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[LogLines(sys.stdout)],
        )  # fmt: skip
        try:
            train(config, process)
        except _USER_ERRORS as error:
            _log.error("%s", error)
            return 1
        except OSError as error:
            _log.error("%s", explain(error))
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
    zoom = config.batch.augment.zoom
    covers = round(config.model.height * zoom), round(config.model.width * zoom)
    if config.operation.plan_only and _says_space(config, covers):
        return None
    dataset, watched = _open_data(config, covers)
    # 2. Networks, and tokens where they are kept.
    cameras = learned_cameras(dataset, config.intrinsics.learn, views=config.losses.synthesis.weight > 0)
    networks = build_networks(config, process.device, cameras)
    loader = _loader(config, dataset, networks, process, training=True)
    check_shown(loader)
    check_neighbours(dataset, read=loader.config.views)
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
            scale=scale, parents=parents, cameras=networks.learned_cameras,
        )  # fmt: skip

    given = {"data": _digest(dataset), "files": _digest_of_files(dataset)} | {
        parent.role: parent.sha256 for parent in parents
    }
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
            for camera in networks.learned_cameras:
                _log.info(
                    "camera    %s: learned a horizontal field of view of %.1f degrees; fov_deg=%.1f says so",
                    camera.name, camera.fov_deg, camera.fov_deg,
                )  # fmt: skip
        _log.info("finished after %s: %s", duration(finished.seconds), path)
    wait_for_all(process)
    return finished


def _look_at_parents(config: TrainConfig) -> tuple[tuple[Parent, ...], DepthScale | None]:
    """Return what tells a run's checkpoints, and the unit of its teacher's depth."""
    need = NEEDS.get(config.recipe)
    if need is not None and getattr(config, need) is None:
        raise ValueError(f"{need} is None; the recipe {config.recipe} expects --{need} CHECKPOINT")
    parents = find_parents(config)
    if config.teacher is not None and is_described(config.teacher):
        return parents, look_at(config.teacher).scale
    return parents, None if config.teacher is None else read_metadata(config.teacher).scale


def _first_unit_m(config: TrainConfig) -> float:
    """Return what a unit of depth is worth at the start: a metric checkpoint need not learn another unit."""
    if config.initial is None or config.teacher is not None:
        return 1.0
    return read_metadata(config.initial).scale.metres_per_unit or 1.0


def _keep_best(path: Path, write: Callable[[Path], None], validated: Validated) -> None:
    best = path.with_stem(f"{path.stem}-best")
    try:
        write(best)
    except OSError as error:  # a full disk, say: the run's state has all of it
        _log.error("the best so far could not be kept: %s", error)
    else:
        _log.info("best so far, abs_rel %.4f: %s", validated.metrics.abs_rel, best)


def _says_space(config: TrainConfig, covers: tuple[int, int]) -> bool:
    """Say what space the frames of videos will take, and return whether any are yet to be stored."""
    spaces = [*foretell(config.data, covers), *foretell(config.validation, covers)]
    for space in spaces:
        _log.info("space     %s", space)
    if spaces:
        _log.info("the rest of the plan is of frames, which a run without --operation.plan-only stores first")
    return bool(spaces)


def _open_data(config: TrainConfig, covers: tuple[int, int]) -> tuple[Mixture, Mixture | None]:
    dataset = open_sources(config.data, covers)
    dataset.verify()
    watched = open_sources(config.validation, covers) if config.validation else None
    if watched is not None:
        watched.verify()
        check_measured(watched)
        warn_of_shared(dataset, watched)
    if config.losses.labels.weight and not dataset.seems_labelled():
        _log.warning("losses.labels has a weight, but no frame was found that has labels or hints")
    return dataset, watched


def _digest(dataset: Mixture) -> str:
    """Return a hash of the samples' keys in their order, by which a run knows its data again."""
    return hashlib.sha256("\n".join(dataset.keys).encode()).hexdigest()[:16]


def _digest_of_files(dataset: Mixture) -> str:
    """Return a hash of the sizes of some files, by which data is known again where it moved."""
    sizes = []
    for index in range(0, len(dataset), max(1, len(dataset) // _FILES_LOOKED_AT)):
        moment = dataset.moment(index)
        if moment is not None:
            sizes.append(moment.frame.path.stat().st_size)
            sizes.append(0 if moment.depth is None else moment.depth.path.stat().st_size)
    return hashlib.sha256(str(sizes).encode()).hexdigest()[:16]


def _parse(arguments: Sequence[str] | None) -> TrainConfig:
    recipes = {name: ((recipe.__doc__ or "").strip(), recipe()) for name, recipe in RECIPES.items()}
    return tyro.extras.overridable_config_cli(
        recipes,
        prog="depth-train",
        description=f"Train a depth network from video.\n\n{help_text()}",
        args=merged(arguments, "--data", "--validation"),
        config=(tyro.conf.AvoidSubcommands,),
    )


def _loader(
    config: TrainConfig, dataset: Mixture, networks: Networks, process: Process, *, training: bool
) -> BatchLoader:
    operation, model = config.operation, config.model
    views = training and config.losses.views(taught=config.teacher is not None)
    if training and not views:
        _log.info("no loss asks for other views, so they are not read, and no pose is learned")
    settings = LoaderConfig(
        height=model.height,
        width=model.width,
        batch_size=config.batch.size,
        augment=config.batch.augment if training else NO_AUGMENTATION,
        canonical_fy_per_height=config.batch.canonical_fy_per_height if training else None,
        metres_per_unit=_first_unit_m(config) if training else 1.0,
        threads=operation.loader_threads,
        prefetch=2 * operation.loader_threads,
        cache_bytes=operation.cache_bytes,
        views=views,
        raw=process.device.type == "cuda",
    )
    # Only a teacher is shown tokens where it is watched; losses, which ask for them too, are for training.
    foundation = networks.frozen.foundation if training or model.role == "teacher" else None
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
