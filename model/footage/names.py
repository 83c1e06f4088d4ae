"""Names of files in the order in which people count."""

import re
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".3gp")
"""By which a file is taken for a video where nobody says so."""
_DIGITS = re.compile("([0-9]+)")


def natural_key(path: Path) -> tuple[tuple[str | int, ...], str]:
    """Return the key by which paths sort as people count: ``frame2`` before ``frame10``."""
    parts = _DIGITS.split(str(path))
    # Text and numbers alternate, so that like is compared with like; the whole name tells 7 from 07.
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), str(path)
