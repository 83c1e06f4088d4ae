"""Lists of KITTI raw frames: the splits by which results are compared, and a user's own.

Three forms are read, one frame a line: ``2011_09_26/2011_09_26_drive_0022_sync 473 r`` (Eigen-Zhou: folder,
frame, side), the same without the side, and ``<date>/<drive>/image_02/data/0000000473.png``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from training.data.layout import Findings, read_text

CAMERA_OF_SIDE = {"l": 2, "r": 3}
_IMAGE_PATH = re.compile(r"^(?P<folder>[^/]+/[^/]+)/image_0(?P<camera>[0-3])/data/(?P<frame>\d+)\.\w+$")


@dataclass(frozen=True, kw_only=True)
class SplitEntry:
    """One frame of a list."""

    date: str
    """As in ``2011_09_26``."""
    drive: str
    """As in ``2011_09_26_drive_0022_sync``."""
    frame: int
    camera: int
    """2: left, 3: right colour camera."""


def read_split(path: Path, findings: Findings) -> list[SplitEntry]:
    """Read a list, noting each line that is of none of the forms."""
    if not findings.has_file(path, "list of frames"):
        return []
    entries: list[SplitEntry] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = parse_entry(line)
        if entry is None:
            findings.add(
                path, f"line {number}: expected '<date>/<drive> <frame> <l|r>', not {line.strip()!r}"
            )
        else:
            entries.append(entry)
    if not entries:
        findings.add(path, "lists no frame")
    return entries


def parse_entry(line: str) -> SplitEntry | None:
    """Return what a line says, or None where it is of none of the forms."""
    words = line.split()
    if match := _IMAGE_PATH.match(words[0]):
        date, drive = match["folder"].split("/")
        return SplitEntry(date=date, drive=drive, frame=int(match["frame"]), camera=int(match["camera"]))
    side = words[2] if len(words) == 3 else "l"
    if len(words) not in (2, 3) or side not in CAMERA_OF_SIDE:
        return None
    date, separator, drive = words[0].partition("/")
    if not separator or not drive or "/" in drive or not words[1].isdigit():
        return None
    return SplitEntry(date=date, drive=drive, frame=int(words[1]), camera=CAMERA_OF_SIDE[side])
