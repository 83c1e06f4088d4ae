"""Samples whose frames are image files: what they consist of, before any pixel is read, and how to read them.

Readers of published layouts build `Moment`s; the loader reads each frame once although several samples
show it. Nothing here knows any layout.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from training.data.augment import shrink_mask
from training.data.layout import IMAGE_SUFFIXES, Findings, Header, read_headers
from training.data.lens import Lens
from training.data.sequence import Role, Sample, View

SCALED_BY = "expected frames of that size, or resized=yes where the whole image was resized"
NOT_RESIZED = "has the size of its calibration; expected resized=no"
_OFF_MIDDLE = (0.08, 0.12)
"""How far a principal point may lie off the middle, in widths and heights: real lenses stay within half of
that, and a frame scaled by a fifth does not."""
_FOV_DEG = (1.0, 160.0)
"""Horizontal fields of view of frames without distortion: a straight image of more than 160 degrees would be
eleven focal lengths wide."""
_SQUARE = 2.0
"""How many times one focal length may be the other, of frames that were squeezed."""
_SAME_SHAPE = 0.02
"""How far the shape of a mask may be off that of the frames."""
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
    rows: tuple[float, float] = (0.0, 1.0)
    """Shares of the rows from the top between which the image is kept: below may be the car's own bonnet."""
    lens: Lens | None = None
    """Whose distortion is taken out first; None: there is none."""
    levels: tuple[int, int] | None = None
    """What becomes black and white of an image of 16 bits a channel; None: it has 8."""

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Decode the image to RGB; a grey image gets three equal channels.

        Raises:
            FrameError: The file cannot be decoded.
        """
        depth = 0 if self.levels is None else cv2.IMREAD_ANYDEPTH
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR_RGB | depth)
        if image is None:
            raise FrameError(self.path, "is missing or cannot be decoded")
        if self.levels is not None:
            image = stretched(image, self.levels)
        if self.lens is not None:
            image = self.lens.undistorted(image)
        kept: UInt8[np.ndarray, "height width 3"] = image[self.rows_of(image.shape[0])]
        return kept

    def rows_of(self, height: int) -> slice:
        """Return which rows are kept of an image of this height."""
        return slice(round(height * self.rows[0]), round(height * self.rows[1]))


def stretched(image: UInt16[np.ndarray, "..."], levels: tuple[int, int]) -> UInt8[np.ndarray, "..."]:
    """Return an image of 16 bits a channel as one of 8, where the two levels become black and white."""
    black, white = levels
    share = (image.astype(np.float32) - black) / (white - black)
    narrow: UInt8[np.ndarray, ...] = (255 * share.clip(0, 1)).round().astype(np.uint8)
    return narrow


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
class MaskFile:
    """An image that is black where frames are not to be compared, and of their shape."""

    path: Path
    rows: tuple[float, float] = (0.0, 1.0)
    """Shares of the rows between which frames are kept."""

    def read(self, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        """Return where frames of that size, after their rows were cut, are to be compared.

        Raises:
            FrameError: It cannot be decoded, or has another shape than the frames.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise FrameError(self.path, "is missing or cannot be decoded")
        whole = height / (self.rows[1] - self.rows[0])
        if abs(image.shape[1] * whole / (image.shape[0] * width) - 1) > _SAME_SHAPE:
            raise FrameError(
                self.path,
                f"is {image.shape[1]}x{image.shape[0]} pixels, but whole frames are {width}x{whole:.0f}; "
                "expected a mask of their shape",
            )
        kept = image[round(image.shape[0] * self.rows[0]) : round(image.shape[0] * self.rows[1])]
        return shrink_mask(kept > 127, height, width)


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
    mask: MaskFile | None = None
    camera: str = ""
    calibrated: tuple[int, int] | None = None
    """Height and width of the image that the calibration is of; None: it does not say."""


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
            mask=None if moment.mask is None else moment.mask.read(*image.shape[:2]),
            camera=moment.camera,
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
        frames = [moment.frame for moment in self._moments]
        frames += [view.frame for moment in self._moments for view in moment.views]
        files = {frame.path for frame in frames}
        photographs = {frame.path for frame in frames if frame.levels is None}
        depth_files = {moment.depth.path for moment in self._moments if moment.depth is not None}
        for path in sorted(depth_files):
            findings.has_file(path, "depth of a frame")
        files |= {path for path in depth_files if path.suffix in IMAGE_SUFFIXES and path.is_file()}
        paths = sorted(files)
        headers = dict(zip(paths, read_headers(paths), strict=True))
        for path, header in headers.items():
            if header.trouble is not None:
                findings.add(path, header.trouble)
            elif header.bits > 8 and path in photographs:
                findings.add(path, f"has {header.bits} bits a channel; expected 8, or frames of kind video:")
            elif header.bits <= 8 and path in depth_files:
                findings.add(path, "has 8 bits a channel; expected a uint16 PNG of depth")
        for moment in self._moments:
            for path, trouble in _troubles(moment, headers):
                findings.add(path, trouble)
        if not self._moments:
            findings.add(Path(self._name), "no sample at all")
        findings.raise_if_any()


def _troubles(moment: Moment, headers: Mapping[Path, Header]) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the sizes of a sample's files, and which file it is."""
    target = headers[moment.frame.path]
    if target.trouble is not None:
        return
    if trouble := _calibration_trouble(moment, target):
        yield moment.frame.path, trouble
    size = target.height, target.width
    # A scan is no image, so that it has no header.
    depth_path = None if moment.depth is None else moment.depth.path
    depth = None if depth_path is None else headers.get(depth_path)
    if depth_path is not None and depth is not None and depth.trouble is None and depth.size != size:
        yield depth_path, f"is {depth.size}, but its image is {size}"
    for view in moment.views:
        source = headers[view.frame.path]
        if source.trouble is None and (source.height, source.width) != size:
            yield (
                view.frame.path,
                f"is {(source.height, source.width)}, but {moment.frame.path.name} is {size}",
            )


def _calibration_trouble(moment: Moment, header: Header) -> str | None:
    """Say why intrinsics cannot be those of an image: of no real lens, another size, or another middle."""
    size = f"is {header.width}x{header.height} pixels"
    focal_x, focal_y = float(moment.intrinsics[0, 0]), float(moment.intrinsics[1, 1])
    fov_deg = 2 * math.degrees(math.atan2(header.width / 2, focal_x))
    if not _FOV_DEG[0] <= fov_deg <= _FOV_DEG[1] or not 1 / _SQUARE <= focal_x / focal_y <= _SQUARE:
        return (
            f"{size}, but its focal lengths are {focal_x:.6g} and {focal_y:.6g} pixels, a horizontal "
            f"field of view of {fov_deg:.3g} degrees; expected {_FOV_DEG[0]:g} to {_FOV_DEG[1]:g} degrees, "
            "and lengths that differ by less than a factor of two"
        )
    if moment.calibrated is not None:
        height, width = moment.calibrated
        if (header.height, header.width) == moment.calibrated:
            return None
        return f"{size}, but its calibration is of {width}x{height}; {SCALED_BY}"
    x, y = float(moment.intrinsics[0, 2]), float(moment.intrinsics[1, 2])
    apart = abs(x / header.width - 0.5), abs(y / header.height - 0.5)
    if apart[0] <= _OFF_MIDDLE[0] and apart[1] <= _OFF_MIDDLE[1]:
        return None
    return (
        f"{size}, but the principal point of its calibration is ({x:.1f}, {y:.1f}), far from the middle, as "
        f"that of an image of about {round(2 * x)}x{round(2 * y)}; {SCALED_BY}"
    )
