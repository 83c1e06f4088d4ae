"""A data set as a camera of another shape would have seen it: a window of each frame, as high and less wide.

Networks have one input size, to which photographs of every shape are stretched. A network that has seen
wide frames alone takes what stands upright in a stretched 4:3 photograph for something else. Where a window
lies differs from frame to frame, and is always the same for one frame, so that what is computed of it can
be kept.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.augment import Framing
from training.data.layout import verify_all
from training.data.sequence import Sample, SequenceDataset


class Narrowed:
    """Samples less wide than they were; those that are narrow already are left as they are.

    Args:
        dataset: Any.
        aspect: Width over height of the windows.
    """

    def __init__(self, dataset: SequenceDataset, aspect: float) -> None:
        if not aspect > 0:
            raise ValueError(f"narrowed is {aspect}; expected a width over height above 0")
        self._dataset = dataset
        self._aspect = aspect

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        window = self._window(sample)
        return replace(
            sample,
            key=self._key(sample.key),
            image=window.image(sample.image),
            intrinsics=window.intrinsics(sample.intrinsics),
            sources=tuple(replace(view, image=window.image(view.image)) for view in sample.sources),
            depth_m=None if sample.depth_m is None else window.depth(sample.depth_m),
            mask=None if sample.mask is None else window.mask(sample.mask),
        )

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, which are not those of the whole frames, without reading any image."""
        return [self._key(key) for key in self._dataset.keys]

    def verify(self) -> None:
        """Look at every file.

        Raises:
            LayoutError: With every problem found.
        """
        verify_all((self._dataset,))

    def describe(self) -> str:
        """Say in a line what the data set is, and how narrow."""
        return f"{self._dataset.describe()}, narrowed to {self._aspect:g}:1"

    def _key(self, key: str) -> str:
        return f"{key}-narrowed-{self._aspect:g}"

    def _window(self, sample: Sample) -> Framing:
        rows, columns = sample.image.shape[:2]
        width = min(columns, max(1, round(rows * self._aspect)))
        place = zlib.crc32(sample.key.encode()) / np.float64(2**32)
        return Framing(
            top_px=0,
            left_px=int(place * (columns - width + 1)),
            rows_px=rows,
            columns_px=width,
            height=rows,
            width=width,
            flip=False,
        )
