"""Replace a file in one step: readers find the whole old file or the whole new one."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


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
        with naming(path):
            yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name the file that is written, and be an OSError.

    safetensors, written in Rust, has its own exception for a full disk, which tells its number in the text.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:  # whatever a library has made of an error of the system
        number = _SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
