"""A data set with hints: depth that was matched from its own views is its label, see `training.hints`.

Frames without a hint keep what they have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from training.data.augment import resize_depth
from training.data.frames import DepthPng, Moment
from training.data.layout import Findings, path_of_key, verify_all
from training.data.prepared import HasMoments
from training.data.sequence import Sample, SequenceDataset

LAYOUT = """
<hints>/<key of a frame, as in 2011_09_26_drive_0013_sync/image_02/0000000010>.png
"""


def hint_path(folder: Path, key: str) -> Path:
    """Return the file of a frame's hint."""
    return path_of_key(folder, key, ".png")


@dataclass(frozen=True, kw_only=True)
class HintPng:
    """A depth PNG of any size."""

    path: Path

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return the depth in metres for an image of that size.

        Raises:
            FrameError: It is no uint16 PNG.
        """
        return resize_depth(DepthPng(path=self.path).read(), height, width)


class Hinted:
    """Samples whose depth is a hint, and a label.

    Args:
        dataset: Any.
        folder: Of hints.
    """

    def __init__(self, dataset: SequenceDataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        path = hint_path(self._folder, sample.key)
        if not path.exists():
            return sample
        depth_m = HintPng(path=path).read(*sample.image.shape[:2])
        return replace(sample, depth_m=depth_m, depth_is_label=True)

    def moment(self, index: int) -> Moment | None:
        """Return a sample's description, where its data set has files."""
        moment = self._dataset.moment(index) if isinstance(self._dataset, HasMoments) else None
        if moment is None:
            return None
        path = hint_path(self._folder, moment.frame.key)
        if not path.exists():
            return moment
        return replace(moment, depth=HintPng(path=path), depth_is_label=True)

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        return self._dataset.keys

    def verify(self) -> None:
        """Look at every file, and for hints.

        Raises:
            LayoutError: With every problem found.
        """
        verify_all((self._dataset,))
        if not self._count():
            findings = Findings(f"hints of {self._dataset.describe()}", LAYOUT)
            findings.add(self._folder, "has no hint for any frame")
            findings.raise_if_any()

    def describe(self) -> str:
        """Say in a line what the data set is, and how many hints there are."""
        return f"{self._dataset.describe()}, {self._count()} with hints"

    def _count(self) -> int:
        return sum(hint_path(self._folder, key).exists() for key in self.keys)
