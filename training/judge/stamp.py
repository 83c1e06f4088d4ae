"""Change what a checkpoint says of itself, in one step and with its weights untouched."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors.numpy import save

from model.atomic import replacing
from model.metadata import METADATA_KEY, Accuracy, CheckpointError, CheckpointMetadata, open_checkpoint


def stamp(path: Path, measured: Sequence[Accuracy]) -> CheckpointMetadata:
    """Add accuracy to a checkpoint; older rows of the same protocol, alignment and data make way.

    Returns:
        The description as it was written.

    Raises:
        CheckpointError: The file is not a checkpoint, or cannot be replaced.
    """
    replaced = {_place(row) for row in measured}

    def with_rows(metadata: CheckpointMetadata) -> CheckpointMetadata:
        kept = tuple(row for row in metadata.accuracy if _place(row) not in replaced)
        return dataclasses.replace(metadata, accuracy=(*kept, *measured))

    return redescribe(path, with_rows)


def redescribe(path: Path, change: Callable[[CheckpointMetadata], CheckpointMetadata]) -> CheckpointMetadata:
    """Replace a checkpoint's description by what `change` makes of it.

    The file's hash changes with its description. Its tensors are copied as they are stored: no network has to
    be built, and nothing is rounded.

    Returns:
        The description as it was written.

    Raises:
        CheckpointError: The file is not a checkpoint, or cannot be replaced.
    """
    with open_checkpoint(path) as (handle, metadata):
        weights = {name: handle.get_tensor(name) for name in handle.offset_keys()}
    changed = change(metadata)
    try:
        with replacing(path) as partial:
            partial.write_bytes(save(weights, {METADATA_KEY: changed.to_json()}))
    except OSError as error:
        raise CheckpointError(path, f"cannot be stamped ({error.strerror or error})") from error
    return changed


def _place(row: Accuracy) -> tuple[str, str, str]:
    return row.protocol, row.alignment, row.data
