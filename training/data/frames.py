"""Samples whose frames are image files: what they consist of, before any pixel is read, and how to read them.

Readers of published layouts build `Moment`s; the loader reads each frame once although several samples
show it. Nothing here knows any layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from training.data.layout import IMAGE_SUFFIXES, Findings, read_headers
from training.data.sequence import Role, Sample, View

DEPTH_PNG_STEPS_PER_M = 256.0
"""KITTI's depth PNGs hold metres times this as uint16."""


class FrameError(Exception):
    """A file that was there cannot be read; the message names it."""

    def __init__(self, path: Path, trouble: str) -> None:
        super().__init__(f"{path}: {trouble}")
        self.path = path
        self.trouble = trouble


@dataclass(frozen=True, kw_only=True)
class Frame:
    """An image that has not been read yet."""

    key: str
    """Stable and unique name."""
    path: Path
    kept_rows: float = 1.0
    """The share of the rows that is kept, from the top: below may be the car's own bonnet."""

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Decode the image to RGB; a grey image gets three equal channels.

        Raises:
            FrameError: The file cannot be decoded.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise FrameError(self.path, "is missing or cannot be decoded")
        rows = self.rows_of(image.shape[0])
        kept: UInt8[np.ndarray, "height width 3"] = image[:rows]
        return kept

    def rows_of(self, height: int) -> int:
        """Return how many rows are kept of an image."""
        return round(height * self.kept_rows)


@runtime_checkable
class DepthFile(Protocol):
    """A file from which a target's depth can be had."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return metres along the optical axis, 0 where nothing was measured, for an image of that size."""
        ...


@dataclass(frozen=True, kw_only=True)
class DepthPng:
    """A uint16 PNG in KITTI's form: metres times 256, 0 where nothing was measured."""

    path: Path

    def read(self, height: int | None = None, width: int | None = None) -> Float32[np.ndarray, "_ _"]:
        """Return the depth in metres.

        Args:
            height: Of the image that it belongs to, in pixels; None: any.
            width: Likewise.

        Raises:
            FrameError: It is not such a PNG, or not of the image's size.
        """
        steps = cv2.imread(str(self.path), cv2.IMREAD_UNCHANGED)
        if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
            raise FrameError(self.path, "expected a uint16 PNG holding metres times 256")
        if steps.shape != (height or steps.shape[0], width or steps.shape[1]):
            raise FrameError(self.path, f"is {steps.shape}, but its image is {(height, width)}")
        depth_m: Float32[np.ndarray, "_ _"] = steps.astype(np.float32) / np.float32(DEPTH_PNG_STEPS_PER_M)
        return depth_m


@dataclass(frozen=True, kw_only=True)
class MomentView:
    """A source view that has not been read yet; compare `View`."""

    frame: Frame
    source_T_target: Float32[np.ndarray, "4 4"] | None
    role: Role


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A sample that has not been read yet; compare `Sample`."""

    frame: Frame
    intrinsics: Float32[np.ndarray, "3 3"]
    """In pixels of the whole target, with pixel centres at +0.5."""
    views: tuple[MomentView, ...] = ()
    depth: DepthFile | None = None
    depth_is_label: bool = False
    intrinsics_known: bool = True


def role_of(offset: int) -> Role:
    """Return the role of the source frame that comes so many frames after the target, or before it."""
    return "previous" if offset < 0 else "next"


def check_offsets(offsets: tuple[int, ...]) -> None:
    """Refuse source frames that are the target, or come twice.

    Raises:
        ValueError: What was given, and what was expected.
    """
    if 0 in offsets or len(set(offsets)) != len(offsets):
        raise ValueError(f"offsets is {offsets}; expected different numbers other than 0")


class FrameDataset:
    """Samples whose frames are files.

    Args:
        name: What the data set is called in plans and errors.
        layout: How its folder should look, for errors.
        moments: The samples.
    """

    def __init__(self, name: str, layout: str, moments: Sequence[Moment]) -> None:
        self._name = name
        self._layout = layout
        self._moments = tuple(moments)
        self._keys = tuple(moment.frame.key for moment in self._moments)

    def __len__(self) -> int:
        return len(self._moments)

    def __getitem__(self, index: int) -> Sample:
        moment = self._moments[index]
        image = moment.frame.read()
        depth = moment.depth
        return Sample(
            key=moment.frame.key,
            image=image,
            intrinsics=moment.intrinsics,
            sources=tuple(
                View(image=view.frame.read(), source_T_target=view.source_T_target, role=view.role)
                for view in moment.views
            ),
            depth_m=None if depth is None else depth.read(image.shape[0], image.shape[1]),
            depth_is_label=moment.depth_is_label,
            intrinsics_known=moment.intrinsics_known,
        )

    def moment(self, index: int) -> Moment:
        """Return a sample's description, without reading any image."""
        return self._moments[index]

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        return self._keys

    def describe(self) -> str:
        """Say in a line what there is."""
        views = [view for moment in self._moments for view in moment.views]
        parts = [f"{len(self)} frames"]
        parts += [f"{sum(view.role == 'stereo' for view in views)} stereo views"]
        parts += [f"{sum(view.role != 'stereo' for view in views)} views in time"]
        parts += [f"{sum(view.source_T_target is not None for view in views)} known poses"]
        parts += [f"{sum(moment.depth is not None for moment in self._moments)} with depth"]
        return f"{self._name}: {', '.join(parts)}"

    def verify(self) -> None:
        """Look at the header of every file, and compare the sizes of the views of each sample.

        Raises:
            LayoutError: With every problem found.
        """
        findings = Findings(self._name, self._layout)
        files = {view.frame.path for moment in self._moments for view in moment.views}
        files |= {moment.frame.path for moment in self._moments}
        depth_files = {moment.depth.path for moment in self._moments if moment.depth is not None}
        for path in sorted(depth_files):
            findings.has_file(path, "depth of a frame")
        files |= {path for path in depth_files if path.suffix in IMAGE_SUFFIXES and path.is_file()}
        paths = sorted(files)
        headers = dict(zip(paths, read_headers(paths), strict=True))
        for path, header in headers.items():
            if header.trouble is not None:
                findings.add(path, header.trouble)
        for moment in self._moments:
            target = headers[moment.frame.path]
            for view in moment.views:
                source = headers[view.frame.path]
                sizes = (target.height, target.width), (source.height, source.width)
                if target.trouble is None and source.trouble is None and sizes[0] != sizes[1]:
                    findings.add(
                        view.frame.path, f"is {sizes[1]}, but {moment.frame.path.name} is {sizes[0]}"
                    )
        if not self._moments:
            findings.add(Path(self._name), "no sample at all")
        findings.raise_if_any()
