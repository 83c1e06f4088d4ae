"""Write measured accuracy into a checkpoint's description, in one step and with its weights untouched.

It does not know how accuracy is measured.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from model.atomic import replacing
from model.metadata import METADATA_KEY, Accuracy, CheckpointError, CheckpointMetadata, open_checkpoint

_LENGTH_BYTES = 8
"""A safetensors file opens with its header's length; the header is filled up to a multiple of these."""


def stamp(path: Path, measured: Sequence[Accuracy]) -> CheckpointMetadata:
    """Add accuracy to a checkpoint; older rows of the same protocol, alignment and data make way.

    The file's hash changes with its description. Its tensors are copied as bytes, so that no network has
    to be built and nothing is rounded.

    Returns:
        The description as it was written.

    Raises:
        CheckpointError: The file is not a checkpoint, or cannot be replaced.
    """
    with open_checkpoint(path) as (file, metadata):
        file.seek(0)
        content = file.read()
    replaced = {_place(row) for row in measured}
    kept = tuple(row for row in metadata.accuracy if _place(row) not in replaced)
    stamped = dataclasses.replace(metadata, accuracy=(*kept, *measured))
    try:
        with replacing(path) as partial:
            partial.write_bytes(_described(content, stamped))
    except OSError as error:
        raise CheckpointError(path, f"cannot be stamped ({error.strerror or error})") from error
    return stamped


def _described(content: bytes, metadata: CheckpointMetadata) -> bytes:
    """Return a checkpoint's bytes with another description; the header was checked when it was opened."""
    tensors_at = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:tensors_at])
    header["__metadata__"][METADATA_KEY] = metadata.to_json()
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + content[tensors_at:]


def _place(row: Accuracy) -> tuple[str, str, str]:
    return row.protocol, row.alignment, row.data
