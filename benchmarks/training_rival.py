"""A training step of ours beside a plain one of the same networks and sizes, in turn, on the same machine.

    python benchmarks/training_rival.py

The plain step is what the formulas say, as one would write them down: for each of four scales upsample the
disparity, backproject, project, sample each source, compare by SSIM (average pooling) and absolute
difference, take the least of the warped and the unwarped errors, add smoothness (Godard et al., "Digging
into Self-Supervised Monocular Depth Estimation", ICCV 2019). Both steps train the same student and pose
network from the same batch: forward, backward, optimizer. Ours also clips gradients and averages weights.
Times are of the clock; weights and images are random, because time does not depend on them.
"""

import argparse
import copy
import dataclasses
import datetime
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.machine import processor
from model.atomic import replacing
from training.config import TrainConfig
from training.data.batch import Batch
from training.loop.optimizer import AveragedWeights, build_optimizer, rate_factor, set_rates
from training.losses.config import LossesConfig, SynthesisConfig
from training.recipes import RECIPES
from training.step.assembly import Networks, build_networks
from training.step.step import training_step

SCALES = 4
_C1, _C2 = 0.01**2, 0.03**2

Step = Callable[[], float]


def noise_batch(config: TrainConfig, size: int) -> Batch:
    """Return a batch with a frame before and one after, and no known pose."""
    height, width = config.model.height, config.model.width
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(size, 3, height, width, generator=generator)
    intrinsics = torch.tensor([[0.58 * width, 0, width / 2], [0, 1.92 * height, height / 2], [0, 0, 1]])
    return Batch(
        keys=tuple(map(str, range(size))),
        image=image,
        image_augmented=image,
        sources=torch.rand(size, 2, 3, height, width, generator=generator),
        source_mask=torch.ones(size, 2, dtype=torch.bool),
        source_T_target=torch.eye(4).repeat(size, 2, 1, 1),
        pose_known=torch.zeros(size, 2, dtype=torch.bool),
        intrinsics=intrinsics.expand(size, 3, 3).contiguous(),
        depth_m=None,
        depth_is_label=torch.zeros(size, dtype=torch.bool),
        tokens=None,
        source_time=torch.tensor([-1, 1], dtype=torch.int8).expand(size, 2),
    )


# The plain step


def plain_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return (1 - SSIM) / 2 over 3x3 boxes, reflected at the border."""
    x, y = functional.pad(x, (1, 1, 1, 1), mode="reflect"), functional.pad(y, (1, 1, 1, 1), mode="reflect")
    mean_x, mean_y = functional.avg_pool2d(x, 3, 1), functional.avg_pool2d(y, 3, 1)
    variance_x = functional.avg_pool2d(x**2, 3, 1) - mean_x**2
    variance_y = functional.avg_pool2d(y**2, 3, 1) - mean_y**2
    covariance = functional.avg_pool2d(x * y, 3, 1) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    norm = (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return torch.clamp((1 - likeness / norm) / 2, 0, 1)


def plain_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the photometric error of two images at each pixel."""
    colour = (x - y).abs().mean(1, keepdim=True)
    return 0.85 * plain_ssim(x, y).mean(1, keepdim=True) + 0.15 * colour


def plain_warp(source: Tensor, depth: Tensor, intrinsics: Tensor, source_T_target: Tensor) -> Tensor:
    """Return what the target would look like if the source were all there is."""
    batch, _, height, width = source.shape
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack((columns, rows, torch.ones_like(rows))).reshape(1, 3, -1).expand(batch, -1, -1)
    points = torch.inverse(intrinsics) @ pixels * depth.reshape(batch, 1, -1)
    points = torch.cat((points, torch.ones(batch, 1, height * width)), 1)
    seen = intrinsics @ (source_T_target @ points)[:, :3]
    places = (seen[:, :2] / (seen[:, 2:] + 1e-7)).reshape(batch, 2, height, width).permute(0, 2, 3, 1)
    grid = places / torch.tensor([width, height]) * 2 - 1
    return functional.grid_sample(source, grid, padding_mode="border", align_corners=False)


def plain_smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    """Return the edge-aware roughness of a disparity."""
    disparity = disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
    disparity_x = (disparity[..., :, :-1] - disparity[..., :, 1:]).abs()
    disparity_y = (disparity[..., :-1, :] - disparity[..., 1:, :]).abs()
    image_x = (image[..., :, :-1] - image[..., :, 1:]).abs().mean(1, keepdim=True)
    image_y = (image[..., :-1, :] - image[..., 1:, :]).abs().mean(1, keepdim=True)
    return (disparity_x * torch.exp(-image_x)).mean() + (disparity_y * torch.exp(-image_y)).mean()


def plain_loss(depth_network: nn.Module, pose_network: nn.Module, batch: Batch) -> Tensor:
    """Return the whole loss of a batch."""
    disparities = depth_network(batch.image).disparities
    sources = [batch.sources[:, 0], batch.sources[:, 1]]
    earlier = [
        torch.ones(len(batch.image), dtype=torch.bool),
        torch.zeros(len(batch.image), dtype=torch.bool),
    ]
    poses = [pose_network(batch.image, *each) for each in zip(sources, earlier, strict=True)]
    total = torch.zeros(())
    for scale in range(SCALES):
        full = functional.interpolate(
            disparities[scale], batch.image.shape[-2:], mode="bilinear", align_corners=False
        )
        warped = [
            plain_warp(source, 1 / full, batch.intrinsics, pose)
            for source, pose in zip(sources, poses, strict=True)
        ]
        errors = torch.cat([plain_error(each, batch.image) for each in warped], 1)
        standing = torch.cat([plain_error(each, batch.image) for each in sources], 1)
        standing = standing + torch.randn_like(standing) * 1e-5
        total = total + torch.cat((standing, errors), 1).min(1).values.mean()
        small = functional.interpolate(
            batch.image, disparities[scale].shape[-2:], mode="bilinear", align_corners=False
        )
        total = total + 1e-3 * plain_smoothness(disparities[scale], small) / 2**scale
    return total / SCALES


def plain_step(networks: Networks, batch: Batch) -> Step:
    """Return a plain step."""
    depth, pose = networks.depth, networks.pose
    optimizer = torch.optim.Adam([*depth.parameters(), *pose.parameters()], 1e-4)

    def step() -> float:
        loss = plain_loss(depth, pose, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


# Ours


def our_step(networks: Networks, batch: Batch, config: TrainConfig) -> Step:
    """Return a step as the trainer does it."""
    parameters = networks.trainable()
    optimizer = build_optimizer(parameters, config.optimizer)
    average = AveragedWeights(parameters, config.schedule.ema_decay)
    done = 0

    def step() -> float:
        nonlocal done
        set_rates(optimizer, rate_factor(done, config.schedule))
        result = training_step(networks, batch, config, done)
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), config.optimizer.clip_norm)
        optimizer.step()
        done += 1
        average.update(parameters, done)
        return float(result.loss.detach())

    return step


def configured(recipe: str) -> TrainConfig:
    """Return a recipe with the networks' first weights random and the poses left to the pose network."""
    config = RECIPES[recipe]()
    return dataclasses.replace(
        config,
        backbone_weights="random",
        pose=dataclasses.replace(config.pose, supervision=0.0, depth_first_steps=0),
    )


def take_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each step in each round, after one to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            began_s = time.perf_counter()
            loss = step()
            seconds = time.perf_counter() - began_s
            if not loss > 0:
                raise RuntimeError(f"the loss of {name} is {loss}; expected a positive number")
            if round_:
                taken[name].append(seconds)
    return taken


def report(taken: dict[str, list[float]], size: int, config: TrainConfig, load: float) -> str:
    """Return training_rival.md."""
    plain = statistics.median(taken["plain"])
    lines = [
        f"| {name} | {1e3 * statistics.median(times):.0f} | {1e3 * min(times):.0f} to {1e3 * max(times):.0f} "
        f"| {plain / statistics.median(times):.2f} |"
        for name, times in taken.items()
    ]
    head = f"""\
# A training step beside a plain one

Measured on {datetime.date.today().isoformat()} by `python {shlex.join(sys.argv)}`.

- {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}; load
  average before: {load:.1f}
- student and pose network, {config.model.width}x{config.model.height}, batches of {size} with a frame before
  and one after, float32; the steps take turns, {len(taken["plain"])} rounds
- plain: written from the published formulas alone (grid_sample, avg_pool SSIM, minimum reprojection,
  auto-mask, four scales at full resolution), Adam
- ours, same work: the same losses at the same scales and resolution; with clipping and averaged weights
- ours, as the recipe has it: `depth-train student`, whose losses look at half the resolution

| step | median ms | lowest to highest | times as fast as plain |
| --- | --- | --- | --- |
"""
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    shipped = configured("student")
    same = dataclasses.replace(shipped, losses=LossesConfig(synthesis=SynthesisConfig()))
    batch = noise_batch(shipped, arguments.batch_size)
    networks = build_networks(shipped, torch.device("cpu")).train()
    plain = copy.deepcopy(networks).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    steps = {
        "plain": plain_step(plain, batch),
        "ours, same work": our_step(copy.deepcopy(networks), batch, same),
        "ours, as the recipe has it": our_step(networks, batch, shipped),
    }
    text = report(take_turns(steps, arguments.rounds), arguments.batch_size, shipped, load)
    with replacing(arguments.output) as partial:
        partial.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
