"""Samples at the size at which training needs them, kept in memory up to a limit.

Decoding and resizing cost most of a sample, and give the same every time; so each frame is done once, even
when several samples show it.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from model.images import resize_image
from training.data.augment import Augmentation, Framing, framing, resize_depth, shrink_mask
from training.data.frames import Frame, Moment
from training.data.sequence import Sample, SequenceDataset, View

Value = TypeVar("Value")


class MemoryCache:
    """Values by key, up to a number of bytes.

    When it is full it keeps what it has: every sample is wanted once an epoch, so to throw out the old for
    the new would only mean that both are missed.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: dict[Hashable, object] = {}
        self._used_bytes = 0
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """How much is kept."""
        return self._used_bytes

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Return the value of a key, made now if it is not kept.

        Two threads may make the same value at once; one of the two is kept.
        """
        if key in self._values:
            return self._values[key]  # type: ignore[return-value]
        value = make()
        size_bytes = size(value)
        with self._lock:
            if key not in self._values and self._used_bytes + size_bytes <= self._max_bytes:
                self._values[key] = value
                self._used_bytes += size_bytes
        return value


@runtime_checkable
class HasMoments(Protocol):
    """A data set that tells what its samples consist of without reading them."""

    def moment(self, index: int) -> Moment | None:
        """Return a sample's description; None where this sample has none."""
        ...


@dataclass(frozen=True, kw_only=True)
class _ResizedFrame:
    image: UInt8[np.ndarray, "_ _ 3"]
    rows: int
    """Of the file's image, before it was resized."""
    columns: int


class PreparedDataset:
    """A data set whose samples have been resized.

    Args:
        dataset: The samples at their own size.
        height: In pixels.
        width: In pixels.
        max_bytes: How much memory to use.
        depth: Whether depth is wanted.
        views: Whether other views than the target are; those that are not are not read.
    """

    def __init__(
        self,
        dataset: SequenceDataset,
        *,
        height: int,
        width: int,
        max_bytes: int,
        depth: bool = True,
        views: bool = True,
    ) -> None:
        self._dataset = dataset
        self._height = height
        self._width = width
        self._depth = depth
        self._views = views
        self._cache = MemoryCache(max_bytes)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        moment = self._moment(index)
        if moment is not None:
            return self._from_files(moment)
        return self._cache.get(index, lambda: self._resized(self._dataset[index]), _sample_bytes)

    def target(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return a sample's image alone."""
        moment = self._moment(index)
        return self[index].image if moment is None else self._frame(moment.frame).image

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys."""
        return self._dataset.keys

    @property
    def used_bytes(self) -> int:
        """How much memory the kept frames take."""
        return self._cache.used_bytes

    def describe(self) -> str:
        """Say in a line what there is."""
        return f"{self._dataset.describe()}, at {self._width}x{self._height}"

    def _moment(self, index: int) -> Moment | None:
        return self._dataset.moment(index) if isinstance(self._dataset, HasMoments) else None

    def _from_files(self, moment: Moment) -> Sample:
        target = self._frame(moment.frame)
        whole = self._framing(target.rows, target.columns)
        views = []
        for view in moment.views if self._views else ():
            source = self._frame(view.frame)
            _check_size(moment.frame.key, (target.rows, target.columns), (source.rows, source.columns))
            views.append(View(image=source.image, source_T_target=view.source_T_target, role=view.role))
        return Sample(
            key=moment.frame.key,
            image=target.image,
            intrinsics=whole.intrinsics(moment.intrinsics),
            sources=tuple(views),
            depth_m=self._depth_of(moment, target.rows, target.columns),
            depth_is_label=moment.depth_is_label,
            intrinsics_known=moment.intrinsics_known,
            mask=self._mask(moment, target.rows, target.columns),
            camera=moment.camera,
        )

    def _frame(self, frame: Frame) -> _ResizedFrame:
        def read() -> _ResizedFrame:
            image = frame.read()
            resized = resize_image(image, self._height, self._width)
            return _ResizedFrame(image=resized, rows=image.shape[0], columns=image.shape[1])

        return self._cache.get((frame.path, frame.rows), read, lambda resized: resized.image.nbytes)

    def _mask(self, moment: Moment, rows: int, columns: int) -> Bool[np.ndarray, "height width"] | None:
        file = moment.mask
        if file is None:
            return None
        return self._cache.get(
            (file, rows, columns),
            lambda: shrink_mask(file.read(rows, columns), self._height, self._width),
            lambda mask: mask.nbytes,
        )

    def _depth_of(
        self, moment: Moment, rows: int, columns: int
    ) -> Float32[np.ndarray, "height width"] | None:
        file = moment.depth
        if file is None or not (self._depth or moment.depth_is_label):
            return None
        return self._cache.get(
            (file.path, moment.frame.path),
            lambda: resize_depth(file.read(rows, columns), self._height, self._width),
            lambda depth_m: depth_m.nbytes,
        )

    def _resized(self, sample: Sample) -> Sample:
        rows, columns = sample.image.shape[:2]
        sources = sample.sources if self._views else ()
        for view in sources:
            _check_size(sample.key, (rows, columns), view.image.shape[:2])
        whole = self._framing(rows, columns)
        wanted = sample.depth_m if self._depth or sample.depth_is_label else None
        return replace(
            sample,
            image=whole.image(sample.image),
            intrinsics=whole.intrinsics(sample.intrinsics),
            sources=tuple(replace(view, image=whole.image(view.image)) for view in sources),
            depth_m=None if wanted is None else whole.depth(wanted),
            mask=None if sample.mask is None else whole.mask(sample.mask),
        )

    def _framing(self, rows: int, columns: int) -> Framing:
        return framing(Augmentation(), rows=rows, columns=columns, height=self._height, width=self._width)


def _check_size(key: str, target: tuple[int, ...], source: tuple[int, ...]) -> None:
    if target != source:
        raise ValueError(f"{key}: a source view is {source}, but the target is {target}; expected one size")


def _sample_bytes(sample: Sample) -> int:
    depth_bytes = 0 if sample.depth_m is None else sample.depth_m.nbytes
    return sample.image.nbytes + depth_bytes + sum(view.image.nbytes for view in sample.sources)
