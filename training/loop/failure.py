"""What is kept when training goes wrong: the batch that did it, and what the losses were."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from model.atomic import replacing
from training.data.batch import Batch


class TrainingDiverged(Exception):  # noqa: N818 - it names what happened
    """The loss is not finite, or has exploded.

    Attributes:
        step: How many steps had been done.
        problem: What was seen.
        path: Where the batch is.
    """

    def __init__(self, step: int, problem: str, path: Path) -> None:
        super().__init__(step, problem, path)
        self.step, self.problem, self.path = step, problem, path

    def __str__(self) -> str:
        return (
            f"after {self.step} steps {self.problem}; the weights were left as they were, the batch is in "
            f"{self.path}. A lower --optimizer.lr, a smaller --optimizer.clip-norm or --precision float32 "
            "may help"
        )


def save_failure(
    folder: Path, step: int, rank: int, batches: Sequence[Batch], terms: Mapping[str, float]
) -> Path:
    """Write a step's batches, their keys and the losses to one safetensors file, and return its path."""
    path = folder / f"failure-{step:08d}-{rank}.safetensors"
    tensors: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        for field in dataclasses.fields(batch):
            value = getattr(batch, field.name)
            if isinstance(value, Tensor):
                tensors[f"{number}/{field.name}"] = value.detach().cpu().contiguous()
    keys = json.dumps([list(batch.keys) for batch in batches])
    losses = json.dumps({name: str(value) for name, value in terms.items()})
    with replacing(path) as partial:
        # Views of one image share its memory, which the format does not allow.
        save_file(
            {name: tensor.clone() for name, tensor in tensors.items()},
            partial,
            {"keys": keys, "losses": losses},
        )
    return path
