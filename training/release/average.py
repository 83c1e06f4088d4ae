"""`python -m training.average`: the mean of several checkpoints' weights, as one checkpoint.

    python -m training.average RUN/student.safetensors RUN/student-best.safetensors --shares 2 1 --output MEAN

Networks that were trained on from the same weights can be averaged, and the mean errs less than each, as it
does over the last steps of one run (Wortsman et al., "Model soups", ICML 2022). What only some of them
have, such as heads of training, comes from the first.
"""

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from model.checkpoint import load_checkpoint, save_checkpoint
from model.commands import explain
from model.licences import strictest
from model.metadata import CheckpointError, CheckpointMetadata
from model.weights import WeightsSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """What is averaged."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Two or more, of the same network. The first gives the description."""
    output: Path
    shares: tuple[float, ...] = ()
    """How much each counts; none: all alike."""
    foundation_weights: WeightsSource = "hub"
    """Teachers'; they are not averaged."""


def average(config: AverageConfig) -> CheckpointMetadata:
    """Write the mean and return its description.

    Raises:
        CheckpointError: A checkpoint cannot be used.
        ValueError: There are fewer than two, they are of different networks, or the shares do not fit.
    """
    paths, shares = config.checkpoints, config.shares or (1.0,) * len(config.checkpoints)
    if len(paths) < 2 or len(shares) != len(paths) or min(shares) <= 0:
        raise ValueError(
            f"{len(paths)} checkpoints with shares {list(shares)}; "
            "expected two or more, and a positive share each"
        )
    loaded = [load_checkpoint(path, foundation_weights=config.foundation_weights) for path in paths]
    network, metadata = loaded[0]
    for path, (_, other) in zip(paths, loaded, strict=True):
        if other.config != metadata.config:
            raise ValueError(
                f"{path} is a {other.config}; expected the network of {paths[0]}, {metadata.config}"
            )
    network.load_state_dict(_mean([each.state_dict() for each, _ in loaded], shares))
    licence = strictest(other.inherited_licence() for _, other in loaded)
    described = dataclasses.replace(metadata, accuracy=(), licence=licence)
    return save_checkpoint(
        config.output, network, described, train_only_heads=metadata.storage.train_only_heads
    )


def _mean(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    mean = {}
    for name, first in states[0].items():
        values = [state.get(name) for state in states]
        there = [value for value in values if value is not None]
        # What is equal, as a frozen foundation model is, stays so to the bit.
        if len(there) < len(values) or all(torch.equal(first, value) for value in there):
            mean[name] = first
            continue
        total = torch.stack([share * value.double() for share, value in zip(shares, there, strict=True)]).sum(
            0
        )
        mean[name] = (total / sum(shares)).to(first.dtype)
    return mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = tyro.cli(AverageConfig, args=arguments, prog="python -m training.average", description=__doc__)
    try:
        average(config)
    except (CheckpointError, ValueError) as error:
        _log.error("%s", error)
        return 1
    except OSError as error:
        _log.error("%s", explain(error))
        return 1
    _log.info("wrote %s", config.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
