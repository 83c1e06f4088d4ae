"""One drive of KITTI raw: which frames it has, and where the car was at each of them.

It knows the folders of a drive, not calibrations, splits or samples.
"""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from training.data import oxts
from training.data.kitti_calibration import Matrix4
from training.data.layout import images_in

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
            self._frames[camera] = {int(stem): path for stem, path in found.items() if stem.isdigit()}
        return self._frames[camera]

    def scans(self) -> dict[int, Path]:
        """Map frame numbers to LiDAR scans."""
        folder = self.folder / "velodyne_points" / "data"
        return {int(path.stem): path for path in sorted(folder.glob("*.bin"))}

    @cached_property
    def world_T_imu(self) -> dict[int, Matrix4]:
        """Map the frames of the left colour camera to the car's place; frames without one are left out.

        Where both the images' and the records' time stamps are there, records are interpolated to the moment
        of exposure, because the nearest record may be 10 ms off, a tenth of the motion between frames.
        Otherwise frames and records of a ``_sync`` drive belong together by number, and those of an
        ``_extract`` drive by the pairs of ``image_02/sync_index.txt``.
        """
        home = self._oxts_home()
        if home is None:
            return {}
        paths = sorted((home / "data").glob("*.txt"))
        records = oxts.read_records(paths)
        stamps_path, image_stamps_path = home / "timestamps.txt", self.folder / "image_02" / "timestamps.txt"
        if stamps_path.is_file() and image_stamps_path.is_file():
            stamps = oxts.read_timestamps(stamps_path)
            image_stamps = oxts.read_timestamps(image_stamps_path)
            if len(stamps) == len(records) and _increasing(stamps):
                return self._poses_by_time(records, stamps, image_stamps)
            _log.warning("%s: %d time stamps for %d records; not used", home, len(stamps), len(records))
        by_number = dict(zip((int(path.stem) for path in paths), oxts.poses(records), strict=True))
        if home.parent == self.folder and not self.name.endswith("_extract"):
            return {number: pose for number, pose in by_number.items() if number in self.frames(2)}
        return {
            ours: by_number[theirs]
            for theirs, ours in self.sync_pairs()
            if theirs in by_number and ours in self.frames(2)
        }

    def sync_pairs(self) -> list[tuple[int, int]]:
        """Return the pairs (frame of the ``_sync`` drive, frame of this drive), if there is a list."""
        path = self.folder / "image_02" / SYNC_INDEX
        if not path.is_file():
            return []
        rows = (line.split() for line in path.read_text().splitlines() if not line.startswith("#"))
        return [(int(row[0]), int(row[1])) for row in rows if len(row) == 2]

    def _oxts_home(self) -> Path | None:
        """The folder of records: our own, or that of the ``_sync`` drive beside an ``_extract`` drive."""
        beside = self.folder.with_name(self.name.removesuffix("_extract") + "_sync")
        for folder in (self.folder, beside):
            if (folder / "oxts" / "data").is_dir():
                return folder / "oxts"
        return None

    def _poses_by_time(
        self, records: oxts.Records, stamps: oxts.Stamps, image_stamps: oxts.Stamps
    ) -> dict[int, Matrix4]:
        found: dict[int, oxts.Record] = {}
        for number in self.frames(2):
            if number < len(image_stamps):
                record = oxts.interpolate(records, stamps, int(image_stamps[number]))
                if record is not None:
                    found[number] = record
        if not found:
            return {}
        return dict(zip(found, oxts.poses(np.stack(list(found.values()))), strict=True))


def _increasing(stamps: oxts.Stamps) -> bool:
    return bool(np.all(np.diff(stamps) > 0))
