"""Print what a checkpoint is: `depth-info CHECKPOINT`, or `--json` for programs.

Reads the header only, without torch: whether the weights are good shows when they are loaded.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.checksums import file_sha256
from model.commands import ending_with_its_reader
from model.metadata import Accuracy, CheckpointError, CheckpointMetadata, open_checkpoint

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint's description, with what its file adds."""

    path: Path
    sha256: str
    """Of the file: how caches and child checkpoints name it."""
    file_bytes: int
    parameters: int
    """Numbers in the file that were learnt, so without the statistics of norms."""
    metadata: CheckpointMetadata

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dataclasses.asdict(self) | {"path": str(self.path)}

    def lines(self) -> Iterator[str]:
        """Yield the text for people, a label and a fact a line."""
        yield str(self.path)
        for label, fact in self._facts():
            if fact:
                yield f"  {label:<11}{fact}"

    def _facts(self) -> Iterator[tuple[str, str]]:
        described, config = self.metadata, self.metadata.config
        made, storage = described.provenance, described.storage
        yield (
            "network",
            f"{config.name}: a {config.role} on {config.backbone}, {config.width}x{config.height} px",
        )
        heads = "" if storage.train_only_heads else ", without train-only heads"
        size = f"{self.parameters / 1e6:.2f} M parameters, {self.file_bytes / 1e6:.1f} MB"
        yield "weights", f"{size} as {storage.dtype}{heads}"
        if config.foundation is not None:
            place = "in the file" if storage.foundation else "not in the file"
            yield "semantics", f"{config.foundation.name} by {config.aggregation}; its weights are {place}"
            yield "", f"fingerprint {described.foundation_sha256}"
        yield "depth", _scale(described)
        for row in described.accuracy or (None,):
            yield "accuracy", "not measured" if row is None else _accuracy(row)
        for camera in described.cameras:
            yield (
                "camera",
                f"{camera.name}: learned a horizontal field of view of {camera.fov_deg:.1f} degrees",
            )
        yield "licence", described.licence or "not stated"
        yield "recipe", made.recipe
        yield "training", _training(described)
        for sequence in made.data:
            yield "data", sequence
        for parent in made.parents:
            yield (
                "parent",
                f"{parent.role} {parent.sha256}" + (f", {parent.licence}" if parent.licence else ""),
            )
        yield "commit", made.commit
        yield "notes", made.notes
        yield "sha256", self.sha256


def read_info(path: Path) -> CheckpointInfo:
    """Read what a checkpoint and its file say.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint.
    """
    with open_checkpoint(path) as (handle, metadata):
        parameters = _parameters(handle)
    return CheckpointInfo(
        path=path,
        sha256=file_sha256(path),
        file_bytes=path.stat().st_size,
        parameters=parameters,
        metadata=metadata,
    )


def _parameters(handle: Any) -> int:
    names = (name for name in handle.offset_keys() if not name.endswith(_STATISTICS))
    return sum(math.prod(handle.get_slice(name).get_shape()) for name in names)


def _scale(metadata: CheckpointMetadata) -> str:
    if metadata.scale.unit == "relative":
        shift = " and an unknown shift of disparity" if metadata.scale.affine else ""
        return f"relative: known up to an unknown factor{shift}"
    known = metadata.scale.fy_per_height
    lens = "no lens is noted" if known is None else f"for a lens of fy / height = {known:g}"
    return f"metres: {metadata.scale.factor:g} m per unit of the network's depth, {lens}"


def _training(metadata: CheckpointMetadata) -> str:
    made = metadata.provenance
    if not made.steps:
        return "none recorded"
    ended = f", ended {made.trained_on}" if made.trained_on else ""
    return f"{made.steps} steps in {made.hours:g} h, seed {made.seed}{ended}"


def _accuracy(row: Accuracy) -> str:
    return (
        f"{row.protocol}, {row.alignment} alignment, {row.images} images of {row.data}: "
        f"AbsRel {row.abs_rel:.3f}, SqRel {row.sq_rel:.3f}, RMSE {row.rmse:.3f}, RMSElog {row.rmse_log:.3f}, "
        f"delta {row.delta1:.3f} {row.delta2:.3f} {row.delta3:.3f}"
    )


@ending_with_its_reader()
def main() -> None:
    """Run `depth-info`."""
    parser = argparse.ArgumentParser(prog="depth-info", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        info = read_info(arguments.checkpoint)
    except CheckpointError as error:
        raise SystemExit(f"depth-info: {error}") from error
    print(json.dumps(info.to_json(), indent=2) if arguments.json else "\n".join(info.lines()))


if __name__ == "__main__":
    main()
