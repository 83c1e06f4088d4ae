"""A teacher and then a student, trained on a GPU for so many minutes from one small file.

    python benchmarks/gpu_train.py pack --data 'kitti-raw:/data/kitti?split=train.txt' --to pack.safetensors
    python benchmarks/gpu_train.py train --pack pack.safetensors --minutes 10 --to runs/gpu

The file holds frames at the network's size and is at most 60 MB, so that it can be carried to a machine that
has torch, timm, safetensors, numpy, Pillow and OpenCV. Tokens are computed on the device. Checkpoints are of
at most 16 MB. On a CPU `train` rehearses it all with tiny networks.
"""

# ruff: noqa: E402 - stand-ins for packages that are missing come before what imports them

import argparse
import dataclasses
import logging
import shutil
import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import plain_machine

plain_machine.prepare()

import torch
from safetensors.torch import save_file

from model.checkpoint import load_checkpoint, save_checkpoint
from model.config import ModelConfig, preset
from model.foundation import FoundationEncoder
from training.config import OperationConfig, TrainConfig
from training.data.packed import pack
from training.data.sources import open_sources
from training.loop.distributed import Process, joined
from training.recipes import RECIPES
from training.train import train

log = logging.getLogger("gpu_train")

_LARGEST_BYTES = 16_000_000
_TEACHERS_SHARE = 0.6
"""Of the time; its steps take longer, and the student is no better than it."""
_TIMED_STEPS = 12
_FEWEST_STEPS = 4


def run(pack_file: Path, minutes: float, folder: Path, weights: dict[str, Path | str]) -> list[Path]:
    """Train both, and return the checkpoints that are to be handed out.

    Args:
        pack_file: What `pack` wrote.
        minutes: For everything.
        folder: Where runs and checkpoints go.
        weights: `foundation_weights` and `backbone_weights`, as training has them.
    """
    until = time.monotonic() + 60 * minutes
    handed_out: list[Path] = []
    with joined() as process:
        cuda = process.device.type == "cuda"
        names = ("kitti-640", "distil-kitti") if cuda else ("smoke-teacher", "smoke-distil")
        recipes = [RECIPES[name]() for name in names]
        if not cuda:
            weights = {"foundation_weights": "random", "backbone_weights": "random"}
        if weights["foundation_weights"] == "random":
            weights = {**weights, "foundation_weights": _foundation(recipes[0].model, folder)}
        for recipe, share in zip(recipes, (_TEACHERS_SHARE, 1.0), strict=True):
            config = dataclasses.replace(
                recipe,
                data=(f"packed:{pack_file}",),
                folder=folder / recipe.recipe,
                operation=_operation(process),
                teacher=folder / names[0] / "teacher.safetensors" if handed_out else None,
                **weights,
            )
            _train_for(config, process, share * (until - time.monotonic()))
            trained = config.folder / f"{config.model.role}.safetensors"
            handed_out.append(_hand_out(trained, folder, config))
    return handed_out


def _foundation(model: ModelConfig, folder: Path) -> Path:
    """Write a random foundation model, which the teacher and whoever asks it have to share."""
    assert model.foundation is not None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "foundation.safetensors"
    vit = FoundationEncoder(model.foundation, "random").vit
    save_file({name: tensor.contiguous() for name, tensor in vit.state_dict().items()}, path)
    return path


def _operation(process: Process) -> OperationConfig:
    cuda = process.device.type == "cuda"
    return OperationConfig(
        device=str(process.device), loader_threads=12 if cuda else 1, cache_bytes=8 * 2**30, log_every=50,
        pictures_every=0, validate_every=0, save_every=0, save_minutes=60, tensorboard=False,
    )  # fmt: skip


def _train_for(config: TrainConfig, process: Process, budget_s: float) -> None:
    """Measure a step, then train for as many as there is time for."""
    began = time.monotonic()
    timed = _with_steps(dataclasses.replace(config, folder=config.folder / "timed"), _TIMED_STEPS)
    finished = train(timed, process)
    assert finished is not None
    shutil.rmtree(timed.folder)
    took_s = time.monotonic() - began
    # What comes before and after the steps, reading frames for the first time included, comes once more.
    left_s = budget_s - took_s - (took_s - finished.seconds)
    steps = max(_FEWEST_STEPS, int(left_s / (finished.seconds / _TIMED_STEPS)))
    log.info("%s: %d steps in %.0f s", config.recipe, steps, left_s)
    train(_with_steps(config, steps), process)


def _with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    warmup = min(config.schedule.warmup_steps, max(1, steps // 10))
    return dataclasses.replace(
        config, schedule=dataclasses.replace(config.schedule, steps=steps, warmup_steps=warmup)
    )


def _hand_out(trained: Path, folder: Path, config: TrainConfig) -> Path:
    """Write what serving needs: half precision, no heads of training, no foundation model."""
    network, metadata = load_checkpoint(trained, foundation_weights=config.foundation_weights)
    path = folder / trained.name
    save_checkpoint(path, network, metadata, dtype="float16", train_only_heads=False)
    size = path.stat().st_size
    if size > _LARGEST_BYTES:
        raise ValueError(f"{path} has {size} bytes; expected at most {_LARGEST_BYTES}")
    log.info("%s: %.1f MB", path, size / 1e6)
    return path


def main() -> None:
    """Pack, or train."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write samples to one file")
    packing.add_argument(
        "--data", nargs="+", required=True, metavar="KIND:PATH?OPTIONS", help="as depth-train has it"
    )
    packing.add_argument("--to", type=Path, required=True)
    packing.add_argument("--megabytes", type=float, default=60.0)
    packing.add_argument("--preset", default="student", help="whose size of input")
    training = commands.add_parser("train", help="train from it")
    training.add_argument("--pack", type=Path, required=True)
    training.add_argument("--minutes", type=float, default=10.0)
    training.add_argument("--to", type=Path, required=True, help="a folder")
    training.add_argument("--foundation-weights", default="hub", help="hub, random or a file")
    training.add_argument("--backbone-weights", default="hub", help="likewise")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        size = preset(arguments.preset)
        dataset = open_sources(arguments.data, (size.height, size.width))
        limit = int(arguments.megabytes * 1e6)
        count = pack(dataset, arguments.to, height=size.height, width=size.width, max_bytes=limit)
        log.info("%s: %d of %d samples", arguments.to, count, len(dataset))
        return
    given = {name: getattr(arguments, name) for name in ("foundation_weights", "backbone_weights")}
    weights = {name: value if value in ("hub", "random") else Path(value) for name, value in given.items()}
    if not torch.cuda.is_available():
        log.info("no CUDA device: tiny networks rehearse what a GPU would do")
    run(arguments.pack, arguments.minutes, arguments.to, weights)


if __name__ == "__main__":
    main()
