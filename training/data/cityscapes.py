"""Cityscapes as samples: frames of its sequences, the camera's JSON, stereo, and disparity to judge by.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. The bottom
quarter of each image shows the car's own bonnet and is cut.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32

from training.data.frames import (
    NOT_RESIZED,
    DepthFile,
    Frame,
    FrameDataset,
    FrameError,
    Moment,
    MomentView,
    check_offsets,
    role_of,
)
from training.data.layout import IMAGE_SUFFIXES, Findings, files_in, read_header, read_text

LAYOUT = """
<root>/leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png    (to train)
<root>/rightImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_rightImg8bit.png  (for stereo)
<root>/leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png             (to judge)
<root>/camera/<split>/<city>/<city>_<sequence>_<frame>_camera.json
<root>/disparity/<split>/<city>/<city>_<sequence>_<frame>_disparity.png                 (for depth)
<split>: train, val or test; <sequence> and <frame>: six digits each
"""

KEPT_ROWS = 0.75
_CALIBRATED = (1024, 2048)
"""Height and width of the published images."""
_NAME = re.compile(r"^(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_(?P<kind>\w+)$")


@dataclass(frozen=True, kw_only=True)
class CityscapesConfig:
    """What to read of Cityscapes."""

    root: Path
    split: Literal["train", "val", "test"] = "train"
    cities: tuple[str, ...] = ()
    """None: all that are there."""
    images: Literal["leftImg8bit_sequence", "leftImg8bit"] = "leftImg8bit_sequence"
    """Whole sequences at 17 Hz, or one annotated frame of each."""
    offsets: tuple[int, ...] = (-2, 2)
    """Source frames, counted from the target; 2 at 17 Hz is about KITTI's motion."""
    stereo: bool = True
    """Whether the right camera is a source where it is there."""
    depth: bool = False
    """Whether the disparity maps are read, where they are there."""
    only_with_depth: bool = False
    """Whether frames without a disparity map are left out."""
    resized: bool = False
    """Whether frames were resized since they were calibrated: calibrations are then scaled to their size."""

    def __post_init__(self) -> None:
        check_offsets(self.offsets)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What a camera file says."""

    focal_x_px: float
    focal_y_px: float
    centre_x_px: float
    centre_y_px: float
    baseline_m: float

    @property
    def calibrated(self) -> tuple[int, int] | None:
        """Height and width of the published images where the camera is theirs, as the middle tells."""
        height, width = _CALIBRATED
        own = abs(self.centre_x_px / width - 0.5) < 0.1 and abs(self.centre_y_px / height - 0.5) < 0.1
        return _CALIBRATED if own else None

    def resized(self, height: int, width: int) -> "Camera":
        """Return the camera of a published image that was resized."""
        y, x = height / _CALIBRATED[0], width / _CALIBRATED[1]
        return Camera(
            focal_x_px=x * self.focal_x_px,
            focal_y_px=y * self.focal_y_px,
            centre_x_px=x * (self.centre_x_px + 0.5) - 0.5,
            centre_y_px=y * (self.centre_y_px + 0.5) - 0.5,
            baseline_m=self.baseline_m,
        )

    @property
    def intrinsics(self) -> Float32[np.ndarray, "3 3"]:
        """With pixel centres at +0.5; the files count from 0. Rows cut at the bottom change nothing."""
        return np.array(
            [
                [self.focal_x_px, 0, self.centre_x_px + 0.5],
                [0, self.focal_y_px, self.centre_y_px + 0.5],
                [0, 0, 1],
            ],
            np.float32,
        )


@dataclass(frozen=True, kw_only=True)
class DisparityPng:
    """A disparity map of Cityscapes: uint16, (value - 1) / 256 pixels, 0 where nothing was matched."""

    path: Path
    camera: Camera

    def read(self, height: int, width: int) -> Float32[np.ndarray, "height width"]:
        """Return depth in metres, baseline times focal length over disparity, without the rows that are cut.

        Raises:
            FrameError: It is not such a PNG, or not of the image's size.
        """
        steps = cv2.imread(str(self.path), cv2.IMREAD_UNCHANGED)
        if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
            raise FrameError(self.path, "expected a uint16 PNG holding disparity")
        if round(steps.shape[0] * KEPT_ROWS) != height or steps.shape[1] != width:
            raise FrameError(self.path, f"is {steps.shape}, but its image, when cut, {(height, width)}")
        disparity_px = (steps[:height].astype(np.float32) - 1) / 256
        matched = disparity_px > 0
        depth_m = np.zeros((height, width), np.float32)
        depth_m[matched] = self.camera.baseline_m * self.camera.focal_x_px / disparity_px[matched]
        return depth_m


class Cityscapes(FrameDataset):
    """Cityscapes.

    Frames that would have no source at all are left out, unless no sources are asked for.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, config: CityscapesConfig) -> None:
        name = f"Cityscapes {config.split} at {config.root}"
        findings = Findings(name, LAYOUT)
        moments = list(_Reader(config, findings).moments())
        if not moments:
            findings.add(config.root / config.images / config.split, "has no usable frame")
        findings.raise_if_any()
        super().__init__(name, LAYOUT, moments)


@dataclass(frozen=True, kw_only=True, order=True)
class _Place:
    """Which frame a file is of."""

    city: str
    sequence: int
    frame: int

    def __str__(self) -> str:
        return f"{self.city}_{self.sequence:06}_{self.frame:06}"

    def at(self, offset: int) -> "_Place":
        return _Place(city=self.city, sequence=self.sequence, frame=self.frame + offset)


class _Reader:
    """Walks over the frames asked for; notes what is missing."""

    def __init__(self, config: CityscapesConfig, findings: Findings) -> None:
        self.config = config
        self.findings = findings
        self.files = cache(self._files)
        self.cameras = cache(self._cameras)
        self.read_camera = cache(self._read_camera)
        self.at_size = cache(self._at_size)

    def moments(self) -> Iterator[Moment]:
        home = self.config.root / self.config.images / self.config.split
        if not self.findings.has_folder(home, "images of Cityscapes"):
            return
        cities = self.config.cities or tuple(sorted(path.name for path in home.iterdir() if path.is_dir()))
        wants_sources = bool(self.config.offsets) or self.config.stereo
        for city in cities:
            if not self.findings.has_folder(home / city, "a city"):
                continue
            for place in self.files(self.config.images, city):
                moment = self._moment(place)
                if moment is None or (self.config.only_with_depth and moment.depth is None):
                    continue
                if moment.views or not wants_sources:
                    yield moment

    def _moment(self, place: _Place) -> Moment | None:
        camera = self._camera_of(place)
        if camera is None:
            return None
        frames = self.files(self.config.images, place.city)
        calibrated = camera.calibrated
        if self.config.resized:
            camera, calibrated = self.at_size(camera, frames[place])
        views = [
            MomentView(
                frame=self._frame(place.at(offset), "leftImg8bit", frames[place.at(offset)]),
                source_T_target=None,
                role=role_of(offset),
            )
            for offset in self.config.offsets
            if place.at(offset) in frames
        ]
        right = self.files(self.config.images.replace("left", "right"), place.city)
        if self.config.stereo and place in right:
            right_T_left = np.eye(4, dtype=np.float32)
            right_T_left[0, 3] = -camera.baseline_m
            partner = self._frame(place, "rightImg8bit", right[place])
            views.append(MomentView(frame=partner, source_T_target=right_T_left, role="stereo"))
        return Moment(
            frame=self._frame(place, "leftImg8bit", frames[place]),
            intrinsics=camera.intrinsics,
            views=tuple(views),
            depth=self._depth(place, camera),
            calibrated=calibrated,
        )

    def _at_size(self, camera: Camera, image: Path) -> tuple[Camera, tuple[int, int] | None]:
        """Return the camera of an image that was resized, and the image's size."""
        header = read_header(image)
        if header.trouble is not None or camera.calibrated is None:
            self.findings.add(
                image, header.trouble or "its calibration is not of 2048x1024 pixels; expected resized=no"
            )
            return camera, camera.calibrated
        if header.size == camera.calibrated:
            self.findings.add(image, NOT_RESIZED)
        return camera.resized(*header.size), header.size

    def _frame(self, place: _Place, kind: str, path: Path) -> Frame:
        return Frame(key=f"cityscapes/{place}_{kind}", path=path, rows=(0.0, KEPT_ROWS))

    def _depth(self, place: _Place, camera: Camera) -> DepthFile | None:
        if not self.config.depth:
            return None
        path = self.files("disparity", place.city).get(place)
        return None if path is None else DisparityPng(path=path, camera=camera)

    def _files(self, folder: str, city: str) -> dict[_Place, Path]:
        """Map frames to the files of one kind, in order."""
        home = self.config.root / folder / self.config.split / city
        suffixes = (".json",) if folder == "camera" else IMAGE_SUFFIXES
        found: dict[_Place, Path] = {}
        for path in files_in(home, suffixes):
            if match := _NAME.match(path.stem):
                place = _Place(city=match["city"], sequence=int(match["sequence"]), frame=int(match["frame"]))
                if found.setdefault(place, path) is not path:
                    self.findings.add(path, f"lies beside {found[place].name}; expected one file of a frame")
        return found

    def _cameras(self, city: str, sequence: int) -> dict[int, Path]:
        files = self.files("camera", city)
        return {place.frame: path for place, path in files.items() if place.sequence == sequence}

    def _camera_of(self, place: _Place) -> Camera | None:
        """The camera of the nearest frame of the same sequence: only annotated frames have a file."""
        cameras = self.cameras(place.city, place.sequence)
        if not cameras:
            home = self.config.root / "camera" / self.config.split / place.city
            self.findings.add(home / f"{place}_camera.json", "missing, for all frames of its sequence too")
            return None
        nearest = min(cameras, key=lambda frame: abs(frame - place.frame))
        return self.read_camera(cameras[nearest])

    def _read_camera(self, path: Path) -> Camera | None:
        try:
            values = json.loads(read_text(path))
            intrinsic = values["intrinsic"]
            return Camera(
                focal_x_px=float(intrinsic["fx"]),
                focal_y_px=float(intrinsic["fy"]),
                centre_x_px=float(intrinsic["u0"]),
                centre_y_px=float(intrinsic["v0"]),
                baseline_m=float(values["extrinsic"]["baseline"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            self.findings.add(path, f"expected intrinsic fx, fy, u0, v0 and extrinsic baseline ({error!r})")
            return None
