"""What a caller asks for, whichever transport they came through."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from .bounds import DEPTH, DISTANCE, FIELD_OF_VIEW, FOCAL_LENGTH, IMAGE_POSITION, PIXEL, PRIORITY
from .errors import InvalidArgument
from .formats import Format as Format
from .formats import PlyEdges
from .regions import Regions

Size = Literal["input", "model"]
Sky = Literal["none", "far"]
MOST_POINTS = 256


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """A pinhole camera, in pixels of the upright input image, whose first pixel's centre is at 0.5."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        FOCAL_LENGTH.check("fx_px", self.fx_px)
        FOCAL_LENGTH.check("fy_px", self.fy_px)
        IMAGE_POSITION.check("cx_px", self.cx_px)
        IMAGE_POSITION.check("cy_px", self.cy_px)


@dataclass(frozen=True, kw_only=True)
class FieldOfView:
    """A pinhole camera with square pixels that looks through the middle of the upright image."""

    horizontal_deg: float

    def __post_init__(self) -> None:
        FIELD_OF_VIEW.check("the horizontal field of view", self.horizontal_deg)


Lens = Intrinsics | FieldOfView


@dataclass(frozen=True, kw_only=True)
class CameraHeight:
    """How high the camera stands above flat ground that it sees; needs a lens."""

    height_m: float

    def __post_init__(self) -> None:
        DISTANCE.check("the camera height", self.height_m)


@dataclass(frozen=True, kw_only=True)
class KnownDistance:
    """A pixel of the upright input image whose depth, along the optical axis, is known."""

    x_px: float
    y_px: float
    distance_m: float

    def __post_init__(self) -> None:
        DISTANCE.check("the known distance", self.distance_m)
        PIXEL.check("x_px", self.x_px)
        PIXEL.check("y_px", self.y_px)


@dataclass(frozen=True, kw_only=True)
class KnownPoints:
    """Several of them: those that are wrong count for little."""

    points: tuple[KnownDistance, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.points) <= MOST_POINTS:
            raise InvalidArgument(
                f"{len(self.points)} known points are given; expected 1 to {MOST_POINTS}, "
                "or a sparse depth image"
            )


@dataclass(frozen=True, kw_only=True)
class SparseDepth:
    """A depth image with holes, as LiDAR, radar or structure from motion give it."""

    png: bytes
    """16-bit grey, of the picture's shape; 0 where nothing was measured."""
    steps_per_metre: float = 256.0
    """What a metre is in it: 256 in KITTI's files, 1000 in millimetres."""

    def __post_init__(self) -> None:
        DEPTH.check("sparse_depth_steps_per_metre", self.steps_per_metre)


Anchor = CameraHeight | KnownDistance | KnownPoints | SparseDepth
"""Something known about the scene, from which relative depth becomes metres."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """How a preview is coloured: by disparity, near at the map's bright end."""

    map: str | None = None
    """Name of a colour map; the server's own where None."""
    near: float | None = None
    """Depth at the near end, in the answer's unit; the image's own nearest where None."""
    far: float | None = None
    """Likewise at the far end."""

    def __post_init__(self) -> None:
        for name, value in (("near", self.near), ("far", self.far)):
            if value is not None:
                DEPTH.check(name, value)
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise InvalidArgument(f"near is {self.near} and far is {self.far}; expected near below far")


@dataclass(frozen=True, kw_only=True)
class DepthRequest:
    """One image, and how its depth is wanted."""

    image: bytes | np.ndarray
    """JPEG, PNG, WebP or AVIF as a file has it; or RGB pixels, uint8 of (height, width, 3)."""
    format: Format = Format.PNG16
    size: Size = "input"
    """As many pixels as the upright image has, or as the network answers."""
    model: str | None = None
    """The default model where None."""
    version: str | None = None
    """The current version where None."""
    caller: str = ""
    """Whoever can be told apart: callers take turns."""
    stream: str = ""
    """One of the caller's streams, which take turns among themselves."""
    priority: int = 0
    """Each step up doubles the caller's share while others wait."""
    deadline_s: float | None = None
    """The instant of the service's clock by which the answer is wanted; the server's own bound where None."""
    lens: Lens | None = None
    """Of the upright picture: the checkpoint's metres are adapted to it. It goes before what EXIF says."""
    camera: str | None = None
    """One of the service's named cameras: its lens, its distortion and, without an anchor, its height."""
    rectify: bool = True
    """For a camera with distortion: whether the depth is of the rectified picture, or of the raw one."""
    anchor: Anchor | None = None
    """Makes the answer metric."""
    ground: bool = False
    """Whether to look for flat ground, and say how high the camera stands over it, and how it is pitched."""
    sky: Sky = "none"
    """Whether what is infinitely far has no depth, or that of the farthest thing in the picture."""
    regions: Regions | None = None
    """Places to which distances are wanted."""
    map: bool = True
    """Whether the map itself is wanted, too."""
    colour: Colour = Colour()
    ply_edges: PlyEdges = "keep"
    """Whether a point cloud has points in the sky, and such as lie between two surfaces, too."""
    request_id: str = ""
    transport: str = "engine"
    """Which transport it came through, for metrics: one of a few fixed words."""

    def __post_init__(self) -> None:
        if self.size not in ("input", "model"):
            raise InvalidArgument(f"size is {self.size[:40]!r}; expected 'input' or 'model'")
        if self.sky not in ("none", "far"):
            raise InvalidArgument(f"sky is {self.sky[:40]!r}; expected 'none' or 'far'")
        PRIORITY.check("priority", self.priority)
        if self.camera is not None and self.lens is not None:
            raise InvalidArgument(f"camera {self.camera[:40]!r} and a lens are given; expected one of them")
        if self.format.spec.content == "points" and not self.rectify:
            raise InvalidArgument("a point cloud is of the rectified picture; expected rectify: yes")

    @property
    def needs_lens(self) -> str:
        """What cannot be made without a lens, wherever that comes from; empty where everything can."""
        if self.format.spec.content == "points":
            return "a point cloud"
        if isinstance(self.anchor, CameraHeight):
            return "a camera height"
        return "the ground" if self.ground else ""

    def options(self) -> dict[str, str | int | float]:
        """Return what is asked for by the names of `DepthOptions`, but for what goes without saying."""
        lens, anchor, colour = self.lens, self.anchor, self.colour
        given: dict[str, str | int | float | None] = {
            "format": self.format.value,
            "size": self.size,
            "model": self.model,
            "version": self.version,
            "priority": int(self.priority) or None,
            "camera": self.camera,
            "rectify": None if self.rectify else "no",
            "ground": "yes" if self.ground else None,
            "sky": "far" if self.sky == "far" else None,
            "ply_edges": None if self.ply_edges == "keep" else self.ply_edges,
            "colormap": colour.map,
            "near": colour.near,
            "far": colour.far,
        }
        match lens:
            case FieldOfView():
                given["fov_deg"] = lens.horizontal_deg
            case Intrinsics():
                given |= asdict(lens)
        match anchor:
            case CameraHeight():
                given["camera_height_m"] = anchor.height_m
            case KnownDistance():
                given |= {f"known_{name}": value for name, value in asdict(anchor).items()}
            case KnownPoints():
                given["known_points"] = ";".join(
                    f"{float(point.x_px)!r},{float(point.y_px)!r},{float(point.distance_m)!r}"
                    for point in anchor.points
                )
        # NumPy's numbers, too, become plain ones.
        return {
            name: value if isinstance(value, str | int) else float(value)
            for name, value in given.items()
            if value is not None
        }
