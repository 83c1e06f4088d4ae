"""Anybody's video as samples: a folder of frames or a video file, of a camera that may be unknown.

Poses are never known here, and neither is scale.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.footage import VIDEO_SUFFIXES
from training.data.frames import (
    Frame,
    FrameDataset,
    FrameError,
    MaskFile,
    Moment,
    MomentView,
    role_of,
)
from training.data.layout import Findings, images_in, read_header, read_headers
from training.data.lens import Lens
from training.data.motion import Motion, moving
from training.data.video_camera import calibrated, frame_intrinsics, lens_of
from training.data.video_config import VideoConfig
from training.data.video_file import extract_frames

_log = logging.getLogger(__name__)

LAYOUT = """
either <folder>/<any name>.png or .jpg, the frames in the order of their numbers, all of one size
or     <video>.mp4, .mov, .mkv, .avi, .webm, .m4v, .ts, .mts, .m2ts or .3gp
"""
_LEVELS_FROM = 32
"""Frames of 16 bits by which black and white are found."""


class Video(FrameDataset):
    """A video.

    Raises:
        LayoutError: With everything that is missing or unreadable.
    """

    def __init__(self, config: VideoConfig) -> None:
        name = f"video {config.path}"
        findings = Findings(name, LAYOUT)
        footage = _footage(config, findings)
        findings.raise_if_any()
        levels = _levels(config.path, footage.paths, findings)
        findings.raise_if_any()
        motion = moving(footage.paths, config.min_change, findings, levels)
        if 2 * motion.blank > len(footage.paths):
            trouble = f"of {len(footage.paths)} frames {motion.blank} are of one colour; expected photographs"
            findings.add(config.path, trouble)
        findings.raise_if_any()
        moments = list(_Reader(config, footage, motion, levels, findings).moments())
        findings.raise_if_any()
        if not moments:
            trouble = f"of {len(footage.paths)} frames {len(motion.kept)} move; expected at least 2"
            if len(motion.kept) > 1:
                offsets = ",".join(map(str, config.offsets))
                trouble = (
                    f"none of {len(motion.kept)} frames has another at offsets={offsets}; expected nearer"
                )
            findings.add(config.path, trouble)
        findings.raise_if_any()
        _log.info("%s: %s", name, _summary(footage, motion))
        super().__init__(name, LAYOUT, moments)


@dataclass(frozen=True, kw_only=True)
class _Footage:
    """Frames as files, before any is left out."""

    paths: tuple[Path, ...]
    stretches: tuple[int, ...]
    """Of each frame; where the number changes, a frame does not follow on the one before."""
    size: tuple[int, int]
    """Height and width to which all that the settings say of the camera refers."""


def _footage(config: VideoConfig, findings: Findings) -> _Footage:
    nothing = _Footage(paths=(), stretches=(), size=(0, 0))
    if config.path.is_dir():
        if config.fps != VideoConfig.fps:
            findings.add(
                config.path, f"is a folder, but fps is {config.fps:g}; expected every, or a video file"
            )
        paths = tuple(images_in(config.path).values())[:: config.every]
        if not paths:
            findings.add(config.path, "has no .png or .jpg")
            return nothing
        header = read_header(paths[0])
        if header.trouble is not None:
            findings.add(paths[0], header.trouble)
        return _Footage(paths=paths, stretches=(0,) * len(paths), size=(header.height, header.width))
    if not findings.has_file(config.path, "a video, or a folder of frames"):
        return nothing
    if config.every != 1:
        findings.add(
            config.path, f"is a file, but every is {config.every}; expected fps, or a folder of frames"
        )
    if config.path.suffix.lower() not in VIDEO_SUFFIXES:
        findings.add(config.path, f"expected a folder, or a file of {', '.join(VIDEO_SUFFIXES)}")
        return nothing
    try:
        made = extract_frames(config.path, config.cache, fps=config.fps, covers=config.stored)
    except FrameError as error:
        findings.add(error.path, error.trouble)
        return nothing
    return _Footage(paths=made.paths, stretches=made.stretches, size=made.size)


class _Reader:
    """Puts samples together from frames that are there."""

    def __init__(
        self,
        config: VideoConfig,
        footage: _Footage,
        motion: Motion,
        levels: tuple[int, int] | None,
        findings: Findings,
    ) -> None:
        self._config, self._footage, self._motion, self._levels = config, footage, motion, levels
        self._findings = findings

    def moments(self) -> Iterator[Moment]:
        kept = self._motion.kept
        if not kept:
            return
        config, header = self._config, read_header(self._footage.paths[0])
        lens = lens_of(config, self._footage.size, self._findings)
        frames, stretches = self._frames(lens), list(self._stretches())
        intrinsics = frame_intrinsics(config, lens, self._footage.size, header.size, self._findings)
        mask = self._mask(header.height, header.width)
        if self._findings:
            return
        if config.learn_intrinsics and config.focal_px is None and config.fov_deg is None:
            intrinsics = calibrated(config, intrinsics, frames, stretches, mask)
        for place, frame in enumerate(frames):
            views = []
            for offset in self._config.offsets:
                other = place + offset
                if not 0 <= other < len(frames) or stretches[other] != stretches[place]:
                    continue
                dropped = abs(kept[other] - kept[place]) - abs(offset)
                if dropped <= self._config.max_gap:
                    views.append(MomentView(frame=frames[other], source_T_target=None, role=role_of(offset)))
            if views:
                yield Moment(
                    frame=frame,
                    intrinsics=intrinsics,
                    views=tuple(views),
                    intrinsics_known=not self._config.learn_intrinsics,
                    mask=mask,
                    camera=self._config.camera_name,
                    calibrated=(header.height, header.width),
                )

    def _stretches(self) -> Iterator[int]:
        """Yield a number for each kept frame, another one where it does not follow on the one before."""
        number, before = 0, None
        for frame in self._motion.kept:
            stretch = self._footage.stretches[frame]
            number += frame in self._motion.after_cut or stretch != before
            before = stretch
            yield number

    def _frames(self, lens: Lens | None) -> list[Frame]:
        config, paths = self._config, self._footage.paths
        rows = config.kept
        return [
            Frame(
                key=f"{config.keyed}/{paths[number].stem}",
                path=paths[number],
                rows=rows,
                lens=lens,
                levels=self._levels,
            )
            for number in self._motion.kept
        ]

    def _mask(self, height: int, width: int) -> MaskFile | None:
        """Return the mask, after a look at whether it fits frames of this size."""
        if self._config.mask is None:
            return None
        top, bottom = self._config.kept
        mask = MaskFile(path=self._config.mask, rows=(top, bottom))
        try:
            if not mask.read(round(height * bottom) - round(height * top), width).any():
                self._findings.add(mask.path, "is black everywhere; expected white where frames are compared")
        except FrameError as error:
            self._findings.add(error.path, error.trouble)
        return mask


def _levels(place: Path, paths: Sequence[Path], findings: Findings) -> tuple[int, int] | None:
    """Find what is black and what is white in all frames of 16 bits; None where they have 8.

    Sensors have 10 to 14 bits, and files do not say how many.
    """
    if read_header(paths[0]).bits <= 8:
        return None
    for path, header in zip(paths, read_headers(paths), strict=True):
        if header.trouble is None and header.bits <= 8:
            findings.add(path, f"has 8 bits a channel, but {paths[0].name} 16; expected frames of one kind")
    images = [
        cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        for path in paths[:: max(1, len(paths) // _LEVELS_FROM)]
    ]
    values = np.concatenate([image[::4, ::4].ravel() for image in images if image is not None])
    black, white = int(np.percentile(values, 0.1)), int(np.percentile(values, 99.9))
    white = max(white, black + 1)
    _log.warning(
        "%s: frames have 16 bits a channel; in all of them %d becomes black and %d white", place, black, white
    )
    return black, white


def _summary(footage: _Footage, motion: Motion) -> str:
    parts = [f"{len(motion.kept)} of {len(footage.paths)} frames move"]
    if joins := len(set(footage.stretches)) - 1:
        parts.append(f"{joins} gaps in time")
    if motion.after_cut:
        parts.append(f"{len(motion.after_cut)} cuts")
    if motion.blank:
        parts.append(f"{motion.blank} of one colour")
    return ", ".join(parts)
