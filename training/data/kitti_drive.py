"""One drive of KITTI raw: which frames it has, and where the car was at each of them.

It knows the folders of a drive, not calibrations, splits or samples.
"""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from training.data import oxts
from training.data.frames import FrameError
from training.data.kitti_calibration import Matrix4
from training.data.layout import files_in, images_in, numbered, read_text

_log = logging.getLogger(__name__)

SYNC_INDEX = "sync_index.txt"


class Drive:
    """A folder ``<date>_drive_<number>_sync`` or ``..._extract``.

    Args:
        folder: The drive.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._frames: dict[int, dict[int, Path]] = {}

    @property
    def name(self) -> str:
        """As in ``2011_09_26_drive_0013_sync``."""
        return self.folder.name

    def frames(self, camera: int) -> dict[int, Path]:
        """Map frame numbers to image files, in order."""
        if camera not in self._frames:
            found = images_in(self.folder / f"image_0{camera}" / "data")
            self._frames[camera] = numbered(found.values())
        return self._frames[camera]

    def scans(self) -> dict[int, Path]:
        """Map frame numbers to LiDAR scans."""
        folder = self.folder / "velodyne_points" / "data"
        return numbered(files_in(folder, (".bin",)))

    @cached_property
    def world_T_imu(self) -> dict[int, Matrix4]:
        """Map the frames of the left colour camera to the car's place; frames without one are left out.

        The record nearest to a frame may be 10 ms off, a tenth of the motion between frames, so records are
        interpolated to the moment of exposure: by the images' time stamps, or, where those are missing, by
        an even clock fitted to the records' own. Without any time stamps, frames and records of a ``_sync``
        drive belong together by number, and those of an ``_extract`` drive by ``image_02/sync_index.txt``.
        """
        home = self._oxts_home()
        if home is None:
            return {}
        found = numbered(files_in(home / "data", (".txt",)))
        records = oxts.read_records(list(found.values()))
        numbers = list(found)
        stamps = _stamps(home / "timestamps.txt", numbers)
        exposures = self._exposures(numbers, stamps)
        if stamps is not None and exposures:
            return self._poses_by_time(records, stamps, exposures)
        by_number = dict(zip(numbers, oxts.poses(records), strict=True))
        return {ours: by_number[theirs] for ours, theirs in self._pairs(numbers) if theirs in by_number}

    def _pairs(self, numbers: list[int]) -> list[tuple[int, int]]:
        """Which frame of ours belongs to which record, by number alone."""
        if not self.name.endswith("_extract"):
            return [(number, number) for number in numbers if number in self.frames(2)]
        path = self.folder / "image_02" / SYNC_INDEX
        if not path.is_file():
            return []
        lines = read_text(path).splitlines()
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        try:
            pairs = [(int(ours), int(theirs)) for theirs, ours in rows]
        except ValueError:
            raise FrameError(path, "expected two frame numbers on each line: sync, extract") from None
        return [(ours, theirs) for ours, theirs in pairs if ours in self.frames(2)]

    def _exposures(self, numbers: list[int], stamps: oxts.Stamps | None) -> dict[int, int]:
        """When each frame was taken, in nanoseconds; empty where that cannot be told."""
        path = self.folder / "image_02" / "timestamps.txt"
        if path.is_file():
            taken = oxts.read_timestamps(path)
            return {number: int(taken[number]) for number in self.frames(2) if number < len(taken)}
        if stamps is None:
            return {}
        even = oxts.even_clock(np.array(numbers), stamps)
        if even is None:
            return {}
        at = dict(zip(numbers, even.tolist(), strict=True))
        return {ours: at[theirs] for ours, theirs in self._pairs(numbers) if theirs in at}

    def _oxts_home(self) -> Path | None:
        """The folder of records: our own, or that of the ``_sync`` drive beside an ``_extract`` drive."""
        beside = self.folder.with_name(self.name.removesuffix("_extract") + "_sync")
        for folder in (self.folder, beside):
            if (folder / "oxts" / "data").is_dir():
                return folder / "oxts"
        return None

    @staticmethod
    def _poses_by_time(
        records: oxts.Records, stamps: oxts.Stamps, exposures: dict[int, int]
    ) -> dict[int, Matrix4]:
        found = {
            number: record
            for number, at in exposures.items()
            if (record := oxts.interpolate(records, stamps, at)) is not None
        }
        if not found:
            return {}
        return dict(zip(found, oxts.poses(np.stack(list(found.values()))), strict=True))


def _stamps(path: Path, numbers: list[int]) -> oxts.Stamps | None:
    """The records' time stamps, if there is a later one for each record."""
    if not path.is_file():
        return None
    stamps = oxts.read_timestamps(path)
    if len(stamps) < max(numbers, default=-1) + 1:
        _log.warning("%s has %d lines for record %d; not used", path, len(stamps), max(numbers))
        return None
    chosen = stamps[numbers]
    if np.any(np.diff(chosen) <= 0):
        _log.warning("%s does not increase; not used", path)
        return None
    return chosen
