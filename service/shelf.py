"""Which checkpoints lie in the folder of models, and under which names and versions.

It reads names and times, never weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """A checkpoint as it lies on disk."""

    name: str
    version: str | None
    """None where the file has no version of its own: its content's hash serves."""
    path: Path
    stamp: tuple[int, int, int]
    """Changes whenever the file does: modification time in ns, size and inode."""

    @property
    def unchanged(self) -> bool:
        """Whether the file is still the one that was found."""
        now = _shelved(self.name, self.version, self.path)
        return now is not None and now.stamp == self.stamp


def find_checkpoints(place: Path) -> Mapping[str, list[Shelved]]:
    """Return every model's checkpoints, the newest version first.

    A folder holds ``NAME.safetensors`` or ``NAME/VERSION.safetensors``; versions are ordered as people order
    them, 10 after 9. Files whose names could not stand in a path are left out, and so are hidden ones.

    Args:
        place: A folder, or one checkpoint.

    Raises:
        OSError: What is there cannot be looked at, which is not to say that it is gone.
    """
    if place.is_file():
        found = [_shelved(place.stem, None, place)]
    else:
        found = [_shelved(path.stem, None, path) for path in place.glob(f"*{_SUFFIX}")]
        found += [_shelved(path.parent.name, path.stem, path) for path in place.glob(f"*/*{_SUFFIX}")]
    models: dict[str, list[Shelved]] = {}
    for one in found:
        if one is not None and is_name(one.name) and (one.version is None or is_name(one.version)):
            models.setdefault(one.name, []).append(one)
    for versions in models.values():
        versions.sort(key=lambda one: version_order(one.version or ""), reverse=True)
    return dict(sorted(models.items()))


def is_name(text: str) -> bool:
    """Return whether a text may name a model or a version: letters, digits, dots, dashes; never a path."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which 2 comes before 10, and digits before letters."""
    parts = [part for part in _DIGITS.split(version) if part]
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _shelved(name: str, version: str | None, path: Path) -> Shelved | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None  # gone since it was listed
    return Shelved(
        name=name, version=version, path=path, stamp=(status.st_mtime_ns, status.st_size, status.st_ino)
    )
