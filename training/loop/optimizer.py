"""The optimizer: one learning rate for each kind of parameter, a schedule, and an average of the weights.

Rates are a pure function of the step.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from training.config import OptimizerConfig, ScheduleConfig

Kind = Literal["common", "backbone", "gate", "pose", "intrinsics"]


def kind_of(name: str) -> Kind:
    """Return which learning rate a parameter has, by its name in `training.step.assembly.Networks`."""
    if name.endswith("_gate"):
        return "gate"
    if name.startswith("depth.geometry.backbone."):
        return "backbone"
    if name.startswith("pose."):
        return "pose"
    return "intrinsics" if name.startswith("intrinsics.") else "common"


def build_optimizer(parameters: Mapping[str, nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over groups by kind and decay; each group tells its base rate as `base_lr`."""
    rates: dict[Kind, float] = {
        "common": config.lr,
        "backbone": config.backbone_lr,
        "gate": config.gate_lr,
        "pose": config.pose_lr,
        "intrinsics": config.intrinsics_lr,
    }
    groups: dict[tuple[Kind, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault((kind_of(name), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": members,
                "lr": rates[kind],
                "base_lr": rates[kind],
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (kind, decays), members in groups.items()
        ],
        betas=(config.beta1, config.beta2),
        fused=True,  # one pass over memory instead of a dozen, on CPU and CUDA alike
    )


def rate_factor(step: int, config: ScheduleConfig) -> float:
    """Return what the base rates are multiplied by at a step, counted from 0."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    if config.shape == "cosine":
        return config.final_factor + (1 - config.final_factor) * 0.5 * (
            1 + math.cos(math.pi * min(1.0, done))
        )
    if config.shape == "step":
        return config.final_factor ** sum(done >= milestone for milestone in config.milestones)
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to its base times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class AveragedWeights:
    """An exponential moving average of parameters: less noisy than the last ones.

    The decay rises with the number of updates, min(decay, (1 + n) / (10 + n)), so that the first weights are
    soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._decay = decay
        self.values: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in parameters.items()
        }

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], updates: int) -> None:
        """Take in the parameters after their `updates`-th change, counted from 1."""
        share = 1 - min(self._decay, (1 + updates) / (10 + updates)) if self._decay else 1.0
        values = list(self.values.values())
        torch._foreach_lerp_(values, [parameters[name].detach() for name in self.values], share)

    def swapped(self, parameters: Mapping[str, nn.Parameter]) -> "_Swapped":
        """Return a context in which the parameters hold the average."""
        return _Swapped(parameters, self.values)


class _Swapped:
    """Exchanges the contents of parameters and averages, and back."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        self._parameters, self._values = parameters, values

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *exception: object) -> None:
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._values.items():
            parameter = self._parameters[name]
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, Tensor]]:
    """Give the optimizer's state as `parameter name/what`, for those parameters that it has met."""
    for name, parameter in parameters.items():
        for what, value in optimizer.state.get(parameter, {}).items():
            yield f"{name}/{what}", value


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Take over what `optimizer_tensors` gave."""
    for full_name, value in tensors.items():
        name, what = full_name.rsplit("/", 1)
        parameter = parameters[name]
        # AdamW counts its steps on the CPU unless fused; moments lie in memory as their parameter does.
        kept = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        optimizer.state[parameter][what] = kept.copy_(value) if value.ndim else value.to(parameter.device)
