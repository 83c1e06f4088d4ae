"""Disparity to depth as it was asked for: its size, its unit, and what the unit rests on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from model.ground import GroundPlane, NoGroundError, find_ground
from model.images import disparity_to_depth_map
from model.metadata import DepthScale
from model.view import Lens as FocalLengths
from model.view import View as NetworkView
from service.codec.cameras import Camera
from service.codec.decode import DecodedImage
from service.codec.point_cloud import intrinsics_of, rays, resized_intrinsics
from service.codec.rectify import rectified_intrinsics, unrectify_depth
from service.codec.scale import (
    GROUND_ERROR,
    Depth,
    KnownDepths,
    Scale,
    own_scale,
    scale_from_distance,
    scale_from_points,
    with_basis,
)
from service.codec.steadiness import View
from service.contract.answer import ScaleSource
from service.contract.basis import Ground
from service.contract.errors import InferenceFailed, InvalidArgument
from service.contract.pose import Pose
from service.contract.request import (
    Anchor,
    CameraHeight,
    DepthRequest,
    Intrinsics,
    KnownDistance,
    KnownPoints,
    Lens,
    Sky,
)

Disparity = Float32[np.ndarray, "rows columns"]


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a caller knows beside the pixels, the same for each picture of a run."""

    lens: Lens | None = None
    camera: Camera | None = None
    """In place of a lens."""
    rectify: bool = True
    anchor: Anchor | None = None
    """Goes before the checkpoint's own scale, and before a camera's height."""
    ground: bool = False
    """Whether ground is looked for where no anchor needs it."""
    sky: Sky = "none"
    """What is infinitely far has no depth, or that of the farthest thing in the picture."""


def knowledge_of(request: DepthRequest, cameras: Mapping[str, Camera]) -> Knowledge:
    """Return what a request's caller knows.

    Raises:
        InvalidArgument: They name a camera that is none of these.
    """
    if request.camera is not None and request.camera not in cameras:
        known = f"one of {', '.join(cameras)}" if cameras else "DEPTH_CAMERAS to name a file of cameras"
        raise InvalidArgument(f"there is no camera {request.camera[:40]!r}; expected {known}")
    return Knowledge(
        lens=request.lens,
        camera=None if request.camera is None else cameras[request.camera],
        rectify=request.rectify,
        anchor=request.anchor,
        ground=request.ground,
        sky=request.sky,
    )


@dataclass(frozen=True, kw_only=True)
class NetworkDepth:
    """What is known of a network's depth."""

    scale: DepthScale
    farthest: float
    """That it can return, in its own unit."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A depth map in its final unit; NaN where there is no depth."""

    depth: Depth
    scale: Scale
    lens: Intrinsics | None
    """Of the map's own pixels; None where none is known, or the map is of a raw picture."""
    notice: str = ""
    farthest: float = math.inf
    """The farthest depth that the network can return, in the map's unit."""


class Scene:
    """One picture, with everything that is known of it.

    Args:
        knowledge: What the caller knows.
        image: The picture, with what its file says.
        network: What the checkpoint says of its depth.

    Raises:
        InvalidArgument: The picture is none of the named camera's.
    """

    def __init__(self, knowledge: Knowledge, image: DecodedImage, network: NetworkDepth) -> None:
        self._knowledge, self._image = knowledge, image
        self._scale, self.farthest = network.scale, network.farthest
        self._lens, self._source = _lens_of(knowledge, image)
        self._camera = camera if (camera := knowledge.camera) is not None and camera.distorts else None
        ratio = None if self._lens is None else self._lens.fy_px / image.height
        self._own = own_scale(self._scale, ratio, self._source)

    def lens_of_map(self, height: int, width: int) -> Intrinsics | None:
        """Return the intrinsics of a straight depth map's own pixels."""
        if self._lens is None:
            return None
        return resized_intrinsics(self._lens, width / self._image.width, height / self._image.height)

    def measure(self, disparity: Disparity, height: int, width: int) -> Measured:
        """Return depth at a size, in its unit.

        Raises:
            InvalidArgument: What the caller knows of the scene does not fit it.
        """
        disparity = self.bounded(disparity)
        scale, notice = self.scale_of(disparity, height, width)
        lens = self.lens_of_map(height, width)
        depth = scale.map(disparity, height, width)
        measured = Measured(
            depth=depth, scale=scale, lens=lens, notice=notice, farthest=scale.farthest(self.farthest)
        )
        if self._camera is None:
            return measured
        if self._knowledge.rectify:
            return replace(measured, scale=with_basis(scale, rectified="yes"))
        raw = unrectify_depth(depth, self._camera, self._image.height, self._image.width)
        return replace(measured, depth=raw, scale=with_basis(scale, rectified="no"), lens=None)

    def bounded(self, disparity: Disparity) -> Disparity:
        """Return disparity with what is infinitely far as far as the farthest thing, where that is wanted."""
        if self._knowledge.sky == "none" or not (infinite := disparity <= 0).any():
            return disparity
        farthest = np.min(disparity, where=disparity > 0, initial=np.inf)
        return np.where(infinite & np.isfinite(farthest), farthest, disparity).astype(np.float32)

    def scale_of(self, disparity: Disparity, height: int, width: int) -> tuple[Scale, str]:
        """Return the scale of the picture, and what is to be said of it.

        Raises:
            InvalidArgument: What the caller knows of the scene does not fit it.
        """
        knowledge, own = self._knowledge, self._own
        camera_height_m = None if knowledge.camera is None else knowledge.camera.height_m
        anchor, default = knowledge.anchor, False
        if anchor is None and camera_height_m is not None:
            anchor, default = CameraHeight(height_m=camera_height_m), True
        if anchor is None and not knowledge.ground:
            return own, ""
        depth = disparity_to_depth_map(disparity, height, width)
        plane, problem = None, ""
        if isinstance(anchor, CameraHeight) or knowledge.ground:
            try:
                plane = self._ground(depth)
            except InvalidArgument as error:
                if isinstance(anchor, CameraHeight) and not default:
                    raise
                problem = str(error)
        if isinstance(anchor, CameraHeight):
            if plane is None:
                return own, f"{problem}; the metres are those of the checkpoint"
            scale = self._from_height(plane, anchor)
        elif anchor is not None:
            scale = self._from_points(depth, anchor)
        else:
            scale = own
        if plane is not None:
            scale = with_basis(scale, ground=_reported(plane, scale))
        return scale, problem

    def view_of(self, disparity: Disparity, pose: Pose) -> View:
        """Return from where the picture was seen.

        Args:
            disparity: The network's, by which the scale is found where it rests on the scene.
            pose: The camera's.

        Raises:
            InvalidArgument: There is no lens, or depth is not in metres, as a pose is.
        """
        lens = self.lens_of_map(*disparity.shape)
        if lens is None:
            raise InvalidArgument(
                "a pose needs a lens: intrinsics, a field of view, a named camera, or a photograph whose "
                "EXIF data names its lens"
            )
        scale, _ = self.scale_of(disparity, *disparity.shape)
        if scale.unit != "metre":
            raise InvalidArgument(
                "a pose is in metres, and this model's depth is relative; expected an anchor, or no pose"
            )
        return View(pose=pose, lens=lens, scale=scale)

    def _ground(self, depth: Depth) -> GroundPlane:
        lens = self.lens_of_map(*depth.shape)
        if lens is None:
            raise InvalidArgument("the ground needs a lens: intrinsics, a field of view, or a named camera")
        return ground_of(depth, lens)

    def _from_height(self, plane: GroundPlane, anchor: CameraHeight) -> Scale:
        if self._scale.affine:
            raise InvalidArgument(
                "a camera height fixes no shift of disparity, which this network has beside its scale; "
                "expected two known points or more"
            )
        scale = Scale(
            factor=anchor.height_m / plane.height, unit="metre", source="camera-height", basis=self._own.basis
        )
        return with_basis(scale, fy_per_height=None, uncertainty=math.hypot(GROUND_ERROR, plane.error))

    def _from_points(self, depth: Depth, anchor: Anchor) -> Scale:
        """Return the scale by known points; they lie in the picture that the depth is returned for."""
        height, width = depth.shape
        if self._camera is not None and not self._knowledge.rectify:
            depth = unrectify_depth(depth, self._camera, self._image.height, self._image.width)
        across, down = width / self._image.width, height / self._image.height
        if isinstance(anchor, KnownDistance) and not self._scale.affine:
            return scale_from_distance(
                depth, x_px=anchor.x_px * across, y_px=anchor.y_px * down, distance_m=anchor.distance_m
            )
        known = self._image.known or _known_depths(anchor)
        placed = KnownDepths(x_px=known.x_px * across, y_px=known.y_px * down, depth_m=known.depth_m)
        return scale_from_points(depth, placed, self._own, affine=self._scale.affine)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One picture and a network's disparity of it, from which depth is measured."""

    scene: Scene
    disparity: Disparity
    notice: str = ""
    """What is said as long as depth is not in metres."""

    def measure(self, height: int, width: int) -> Measured:
        """Return depth at a size, in its unit.

        Raises:
            InvalidArgument: What the caller knows of the scene does not fit it.
        """
        measured = self.scene.measure(self.disparity, height, width)
        return replace(measured, notice=self.notice_of(measured.scale, measured.notice))

    def notice_of(self, scale: Scale, notice: str) -> str:
        """Return what is said of depth by this scale, beside what the scale itself has to say."""
        return "; ".join(filter(None, (notice, "" if scale.unit == "metre" else self.notice)))


def observe(
    view: NetworkView, output: Any, knowledge: Knowledge, image: DecodedImage, size: tuple[int, int]
) -> Observed:
    """Read a network's output for a picture, for a map of this height and width.

    Raises:
        InvalidArgument: The picture is none of the named camera's.
        InferenceFailed: The output is none that the network may have.
    """
    lens, _ = _lens_of(knowledge, image)
    focal = None if lens is None else FocalLengths(fx_px=lens.fx_px, fy_px=lens.fy_px)
    try:
        reading = view.read(output, (image.height, image.width), *size, focal)
    except ValueError as error:
        raise InferenceFailed(f"the network gave no depth: {error}") from error
    network = NetworkDepth(scale=reading.scale, farthest=reading.farthest)
    scene = Scene(knowledge, image, network)
    return Observed(scene=scene, disparity=reading.disparity, notice=reading.notice)


def _lens_of(knowledge: Knowledge, image: DecodedImage) -> tuple[Intrinsics | None, ScaleSource]:
    """Return the lens of the straight picture, and what metres rest on that are adapted to it."""
    if knowledge.lens is not None:
        return intrinsics_of(knowledge.lens, image.height, image.width), "checkpoint+lens"
    if (camera := knowledge.camera) is not None:
        if camera.distorts:
            return rectified_intrinsics(camera, image.height, image.width), "checkpoint+lens"
        return camera.intrinsics_of(image.height, image.width), "checkpoint+lens"
    return image.lens, "exif"


def _known_depths(anchor: Anchor) -> KnownDepths:
    points = anchor.points if isinstance(anchor, KnownPoints) else (anchor,)
    x, y, m = np.array([(p.x_px, p.y_px, p.distance_m) for p in points if isinstance(p, KnownDistance)]).T
    return KnownDepths(x_px=x, y_px=y, depth_m=m)


def ground_of(depth: Depth, lens: Intrinsics) -> GroundPlane:
    """Return the ground in the lower middle of a map.

    Raises:
        InvalidArgument: There is no level ground to be found.
    """
    try:
        return find_ground(depth, *rays(lens, *depth.shape))
    except NoGroundError as error:
        raise InvalidArgument(f"{error}; a known distance works without ground") from None


def _reported(plane: GroundPlane, scale: Scale) -> Ground:
    return Ground(
        height=plane.height * scale.factor, pitch_deg=plane.pitch_deg, share=plane.share, error=plane.error
    )
