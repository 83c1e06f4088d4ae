"""Distance category alignment: teacher and student put each position into the same distance categories.

K categories have centres c_k, spaced evenly in log depth. A depth D belongs to them softly,

    p_k = softmax_k(-|log D - log c_k| / tau)

the teacher by its depth, the student by its train-only head's logits ("head") or by its depth ("depth"), and

    loss = tau^2 KL(p_T || p_S)   with "depth";   KL(p_T || p_S)   with "head", whose logits have no tau
    ordinal:  mean over k of (P_S(k) - P_T(k))^2, P being cumulative: near misses cost less than far ones

Name and purpose are of Yu, Wu and Lam, "VFM-Depth" (IEEE TCSVT 2025), whose formula is not open; this one
is ours, with soft bins after Fu et al., "DORN" (CVPR 2018) and temperature after Hinton et al. (2015).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class CategoryAlignmentConfig:
    """Where the categories lie and how they are compared."""

    weight: float = 0.1
    """0: off."""
    student: Literal["head", "depth"] = "head"
    """What tells the student's categories."""
    ordinal: bool = False
    """Compare cumulative distributions rather than by KL divergence."""
    tau: float = 0.1
    """Softness, in units of log depth; neighbouring centres of 64 are 0.095 apart."""
    nearest: float = 0.05
    """The first centre, in units of the aligned depth: of the median, usually."""
    farthest: float = 20.0
    """The last centre."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"category.weight is {self.weight}; expected at least 0")
        if self.tau <= 0:
            raise ValueError(f"category.tau is {self.tau}; expected above 0")
        if not 0 < self.nearest < self.farthest:
            raise ValueError(
                f"category.nearest is {self.nearest} and farthest {self.farthest}; "
                "expected 0 < nearest < farthest"
            )


def log_centres(
    count: int, config: CategoryAlignmentConfig, device: torch.device | None = None
) -> Float[Tensor, " categories"]:
    """Return log c_k, made on a device."""
    return torch.linspace(math.log(config.nearest), math.log(config.farthest), count, device=device)


def category_logits(
    log_depth: Float[Tensor, "batch 1 height width"], count: int, config: CategoryAlignmentConfig
) -> Float[Tensor, "batch categories height width"]:
    """Return the scores of a depth's categories, softness included."""
    centres = log_centres(count, config, log_depth.device).to(log_depth)
    return -(log_depth - centres[:, None, None]).abs() / config.tau


def category_alignment(
    student_logits: Float[Tensor, "batch categories height width"],
    teacher_log_depth: Float[Tensor, "batch 1 height width"],
    config: CategoryAlignmentConfig,
) -> Float[Tensor, " batch"]:
    """Return how differently teacher and student distribute over the categories, averaged over positions.

    Args:
        student_logits: Of the head, or `category_logits` of the student's depth.
        teacher_log_depth: At the same stride, aligned in scale.
        config: How to compare.
    """
    with torch.no_grad():
        wanted = category_logits(teacher_log_depth, student_logits.shape[1], config).softmax(dim=1)
    if config.ordinal:
        steps = student_logits.softmax(dim=1).cumsum(dim=1) - wanted.cumsum(dim=1)
        return steps.square().flatten(1).mean(dim=1)
    divergence = functional.kl_div(student_logits.log_softmax(dim=1), wanted, reduction="none").sum(dim=1)
    factor = config.tau**2 if config.student == "depth" else 1.0
    return factor * divergence.flatten(1).mean(dim=1)
