"""Replace a file in one step: readers find the old one whole or the new one whole, whatever happens between.

It does not know what it writes.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path for a new file in the same folder, which takes `path`'s place when the block ends well.

    The folder is made where it is missing. The new file reaches the disk before it takes the place, and the
    folder after, so that even a power cut leaves one of the two. When the block fails, the new file is
    removed; a killed process leaves it behind, under a name that begins with a dot and ends in `.partial`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
