"""Flat, textured polygons of four corners, many in one record; everything in the world consists of them.

Texture coordinates are affine functions of the place in space, so that they stay exact under every move and
every projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from training.data.synthetic.frame import Kind

Vector = Float64[np.ndarray, "3"]
Place = Sequence[float] | Vector
Span = tuple[float, float, float, float]
WHOLE: Span = (0.0, 0.0, 1.0, 1.0)
GROUND_TEXTURE = -1
"""A face with this texture is ground: its coordinates are x and y of the world."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Polygons in one frame of reference."""

    corners: Float64[np.ndarray, "faces 4 3"]
    """Counter-clockwise as seen from the front; a triangle names its last corner twice."""
    uv: Float64[np.ndarray, "faces 2 4"]
    """Texture coordinates of a place p are ``uv[:, :3] @ p + uv[:, 3]``; 1 is a texture's whole extent."""
    texture: Int32[np.ndarray, " faces"]
    tint: Float32[np.ndarray, "faces 3"]
    """Multiplies the texture's colours."""
    kind: UInt8[np.ndarray, " faces"]
    cutout: Bool[np.ndarray, " faces"]
    """Whether the texture's opacity cuts holes; such faces are seen from both sides."""
    soft: Float32[np.ndarray, " faces"]
    """1: lit alike from all sides, as leaves are; 0: by the angle to the sun."""
    sunlit: Float32[np.ndarray, " faces"]
    """The share of the sun that other things let through to this face."""

    def __len__(self) -> int:
        return len(self.texture)

    def normals(self) -> Float64[np.ndarray, "faces 3"]:
        """Return the unit normals, which point to the front."""
        first = self.corners[:, 1] - self.corners[:, 0]
        normal = np.cross(first, self.corners[:, 2] - self.corners[:, 0])
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        unit: Float64[np.ndarray, "faces 3"] = normal / np.maximum(length, 1e-12)
        return unit

    def moved(self, rotation: Float64[np.ndarray, "3 3"], shift: Vector) -> "Faces":
        """Return the faces turned and then shifted."""
        turned = self.uv[:, :, :3] @ rotation.T
        offset = self.uv[:, :, 3] - turned @ shift
        moved = {
            "corners": self.corners @ rotation.T + shift,
            "uv": np.concatenate([turned, offset[..., None]], axis=2),
        }
        return self.replaced(moved)

    def replaced(self, changes: dict[str, np.ndarray]) -> "Faces":
        """Return the faces with some fields changed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Faces(**(values | changes))

    def chosen(self, which: Bool[np.ndarray, " faces"] | Int32[np.ndarray, " chosen"]) -> "Faces":
        """Return some of the faces."""
        return Faces(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @staticmethod
    def joined(parts: Sequence["Faces"]) -> "Faces":
        """Return the faces of several records, in order."""
        return Faces(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(Faces)
            }
        )


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What a face is made of."""

    texture: int
    kind: Kind
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    cutout: bool = False
    soft: float = 0.0
    sunlit: float = 1.0


class FacesBuilder:
    """Collects faces one by one."""

    def __init__(self) -> None:
        self._corners: list[np.ndarray] = []
        self._uv: list[np.ndarray] = []
        self._surfaces: list[Surface] = []

    def quad(self, origin: Place, right: Place, up: Place, surface: Surface, span: Span = WHOLE) -> None:
        """Add a parallelogram.

        Args:
            origin: Its lower left corner, seen from the front.
            right: Edge from there to the right.
            up: Edge from there upwards.
            surface: What it is made of.
            span: Texture coordinates: left, top, right and bottom.
        """
        o, r, u = (np.asarray(vector, np.float64) for vector in (origin, right, up))
        self.polygon((o, o + r, o + r + u, o + u), o, r, u, surface, span)

    def polygon(
        self,
        corners: Sequence[Place],
        origin: Vector,
        right: Vector,
        up: Vector,
        surface: Surface,
        span: Span = WHOLE,
    ) -> None:
        """Add a convex polygon of three or four corners, in the plane of the parallelogram of its texture."""
        points = [np.asarray(corner, np.float64) for corner in corners]
        points += [points[-1]] * (4 - len(points))
        normal = np.cross(right, up)
        # Rows of the inverse are the functionals that read off the share of `right` and of `up` in a place.
        shares = np.linalg.inv(np.stack([right, up, normal], axis=1))[:2]
        scale = np.array([span[2] - span[0], span[1] - span[3]])
        gradient = shares * scale[:, None]
        offset = np.array([span[0], span[3]]) - gradient @ origin
        self._corners.append(np.stack(points))
        self._uv.append(np.concatenate([gradient, offset[:, None]], axis=1))
        self._surfaces.append(surface)

    def box(
        self,
        low: Sequence[float],
        high: Sequence[float],
        side: Surface,
        *,
        top: Surface | None = None,
        metres: tuple[float, float] | None = None,
    ) -> None:
        """Add the four sides of an upright box, and its top where a surface is given.

        Args:
            low: Least x, y and z.
            high: Greatest x, y and z.
            side: What the sides are made of.
            top: What the top is made of.
            metres: Width and height that the texture covers; None: it is stretched over each side.
        """
        (x0, y0, z0), (x1, y1, z1) = low, high
        dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
        walls = (
            ((x0, y0, z0), (dx, 0, 0), dx),
            ((x1, y0, z0), (0, dy, 0), dy),
            ((x1, y1, z0), (-dx, 0, 0), dx),
            ((x0, y1, z0), (0, -dy, 0), dy),
        )
        for origin, right, length in walls:
            span = WHOLE if metres is None else (0.0, 1 - dz / metres[1], length / metres[0], 1.0)
            self.quad(origin, right, (0, 0, dz), side, span)
        if top is not None:
            span = WHOLE if metres is None else (0.0, 0.0, dx / metres[0], dy / metres[0])
            self.quad((x0, y0, z1), (dx, 0, 0), (0, dy, 0), top, span)

    def extend(self, other: "FacesBuilder", rotation: np.ndarray, shift: np.ndarray) -> None:
        """Add all faces of another builder, turned and shifted."""
        for corners, uv, surface in zip(other._corners, other._uv, other._surfaces, strict=True):
            turned = uv[:, :3] @ rotation.T
            self._corners.append(corners @ rotation.T + shift)
            self._uv.append(np.concatenate([turned, (uv[:, 3] - turned @ shift)[:, None]], axis=1))
            self._surfaces.append(surface)

    def build(self) -> Faces:
        """Return what was added."""
        made = self._surfaces
        return Faces(
            corners=np.array(self._corners, np.float64).reshape(-1, 4, 3),
            uv=np.array(self._uv, np.float64).reshape(-1, 2, 4),
            texture=np.array([one.texture for one in made], np.int32),
            tint=np.array([one.tint for one in made], np.float32).reshape(-1, 3),
            kind=np.array([one.kind for one in made], np.uint8),
            cutout=np.array([one.cutout for one in made], bool),
            soft=np.array([one.soft for one in made], np.float32),
            sunlit=np.array([one.sunlit for one in made], np.float32),
        )
