"""Find the nearest face at every sample of a camera: inverse depth is affine over the image of a flat face.

Each face is compared with what lies in its own box of the image only; a row of a convex face is one
interval.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from training.data.synthetic.atlas import Atlas
from training.data.synthetic.camera import Camera
from training.data.synthetic.faces import Faces

NEAR_M = 0.25
_OPAQUE = 100
"""Of 255: below one half, since averaging thins leaves out."""
_TOLERANCE_SAMPLES = 1e-3
"""Neighbours share an edge; without this, rounding would leave gaps between them."""


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Faces as a camera sees them; functions of (sample column, sample row, 1)."""

    number: Int32[np.ndarray, " seen"]
    """Of each face in the record it comes from."""
    inverse_depth: Float64[np.ndarray, "seen 3"]
    edges: Float64[np.ndarray, "seen 4 3"]
    """Not negative inside, in samples."""
    uv: Float64[np.ndarray, "seen 2 3"]
    """Texture coordinates times inverse depth."""
    box: Int32[np.ndarray, "seen 4"]
    """First row, row behind the last, first column, column behind the last."""
    nearest: Float64[np.ndarray, " seen"]
    """The greatest inverse depth of the face."""


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What every sample hits."""

    inverse_depth: Float32[np.ndarray, "rows columns"]
    """0 where nothing is hit."""
    face: Int32[np.ndarray, "rows columns"]
    """Row of the projected faces; -1 where nothing is hit."""


def project(faces: Faces, camera: Camera) -> Projected:
    """Return the faces that are turned towards the camera and inside its image, the nearest first."""
    rotation, position = camera.world_T_camera[:3, :3], camera.position
    corners = (faces.corners - position) @ rotation
    # Cheap first: all corners behind, or all beyond one side of the image.
    pixels = corners @ camera.intrinsics.T
    x, y, z = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    beyond = [z < NEAR_M, x < 0, x > camera.width * z, y < 0, y > camera.height * z]
    outside = np.logical_or.reduce([side.all(axis=1) for side in beyond])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    distance = np.einsum("fc,fc->f", normals, corners[:, 0])
    seen = ~outside & (np.abs(distance) > 1e-12) & ((distance < 0) | faces.cutout)
    number = np.flatnonzero(seen).astype(np.int32)
    corners, normals, distance = corners[number], normals[number], distance[number]
    box, nearest = _boxes(pixels[number], camera)
    rays = np.linalg.inv(camera.intrinsics) @ np.diag([0.5, 0.5, 1.0])
    inverse_depth = (normals @ rays) / distance[:, None]
    edges = np.cross(corners, np.roll(corners, -1, axis=1)) @ rays
    edges *= np.sign(distance)[:, None, None]
    edges /= np.maximum(np.hypot(edges[..., 0], edges[..., 1]), 1e-12)[..., None]
    uv = faces.uv[number]
    here = uv[:, :, :3] @ position + uv[:, :, 3]
    uv_inverse = here[..., None] * inverse_depth[:, None] + uv[:, :, :3] @ rotation @ rays
    kept = np.argsort(-nearest, kind="stable")
    kept = kept[(box[kept, 1] > box[kept, 0]) & (box[kept, 3] > box[kept, 2])]
    return Projected(
        number=number[kept],
        inverse_depth=inverse_depth[kept],
        edges=edges[kept],
        uv=uv_inverse[kept],
        box=box[kept],
        nearest=nearest[kept],
    )


def _boxes(
    pixels: Float64[np.ndarray, "seen 4 3"], camera: Camera
) -> tuple[Int32[np.ndarray, "seen 4"], Float64[np.ndarray, " seen"]]:
    """Return the box of samples that holds each face, and its nearest point's inverse depth."""
    z = pixels[..., 2]
    crossing = np.flatnonzero((z < NEAR_M).any(axis=1))
    z = np.maximum(z, NEAR_M)
    columns, rows = 2 * pixels[..., 0] / z, 2 * pixels[..., 1] / z
    bounds = np.stack([rows.min(1), rows.max(1), columns.min(1), columns.max(1)], axis=1)
    for face in crossing:
        clipped = _clip(pixels[face])
        column, row = 2 * clipped[:, 0] / clipped[:, 2], 2 * clipped[:, 1] / clipped[:, 2]
        bounds[face] = row.min(), row.max(), column.min(), column.max()
    limit = np.array([camera.rows, camera.rows, camera.columns, camera.columns], np.float64)
    bounds[:, [0, 2]] = np.ceil(bounds[:, [0, 2]] - _TOLERANCE_SAMPLES)
    bounds[:, [1, 3]] = np.floor(bounds[:, [1, 3]] + _TOLERANCE_SAMPLES) + 1
    return np.clip(bounds, 0, limit).astype(np.int32), 1 / z.min(axis=1)


def _clip(polygon: Float64[np.ndarray, "4 3"]) -> Float64[np.ndarray, "_ 3"]:
    """Return the corners of the part in front of the near plane."""
    kept: list[np.ndarray] = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if start[2] >= NEAR_M:
            kept.append(start)
        if (start[2] >= NEAR_M) != (end[2] >= NEAR_M):
            kept.append(start + (end - start) * ((NEAR_M - start[2]) / (end[2] - start[2])))
    return np.array(kept)


def rasterise(projected: Projected, faces: Faces, atlas: Atlas, camera: Camera) -> Hits:
    """Return the nearest face at every sample."""
    nearest = np.zeros((camera.rows, camera.columns), np.float32)
    hit = np.full((camera.rows, camera.columns), -1, np.int32)
    texture, cutout = faces.texture[projected.number], faces.cutout[projected.number]
    inside = _Intervals(projected)
    for face, (top, bottom, left, right) in enumerate(projected.box.tolist()):
        area = nearest[top:bottom, left:right]
        if projected.nearest[face] <= area.min():
            continue
        start, end = inside.of(face, top, bottom)
        column = np.arange(left, right, dtype=np.float32)
        mask = (column >= start) & (column <= end)
        inverse_depth = _affine(projected.inverse_depth[face], (top, bottom, left, right))
        mask &= inverse_depth > area
        if cutout[face] and mask.any():
            where = (top, bottom, left, right)
            mask &= _opaque(projected.uv[face], int(texture[face]), atlas, inverse_depth, where)
        np.copyto(area, inverse_depth, where=mask)
        np.copyto(hit[top:bottom, left:right], np.int32(face), where=mask)
    return Hits(inverse_depth=nearest, face=hit)


def _affine(
    coefficients: Float64[np.ndarray, "3"], box: tuple[int, int, int, int]
) -> Float32[np.ndarray, "height width"]:
    """Return a function's values over a box; counting from its corner keeps single precision exact enough."""
    a, b, c = coefficients.tolist()
    top, bottom, left, right = box
    across = (a * np.arange(right - left)).astype(np.float32)
    down = (b * np.arange(top, bottom) + (c + a * left)).astype(np.float32)
    values: Float32[np.ndarray, "height width"] = down[:, None] + across
    return values


class _Intervals:
    """The columns that a face covers in each row, from its edges."""

    def __init__(self, projected: Projected) -> None:
        a, b, c = np.moveaxis(projected.edges, -1, 0)
        c = c + _TOLERANCE_SAMPLES
        steep = np.abs(a) < 1e-9
        a = np.where(steep, 1e-9, a)
        self._slope = -b / a
        self._offset = -c / a
        self._left = a > 0

    def of(self, face: int, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(top, bottom, dtype=np.float64)[:, None]
        crossing = self._slope[face] * rows + self._offset[face]
        left = self._left[face]
        start = np.where(left, crossing, -np.inf).max(axis=1, keepdims=True)
        end = np.where(left, np.inf, crossing).min(axis=1, keepdims=True)
        return start.astype(np.float32), end.astype(np.float32)


def _opaque(
    uv: Float64[np.ndarray, "2 3"],
    texture: int,
    atlas: Atlas,
    inverse_depth: Float32[np.ndarray, "height width"],
    box: tuple[int, int, int, int],
) -> Bool[np.ndarray, "height width"]:
    """Return where a face's texture is opaque, at the scale that suits the middle of the face."""
    height, width = inverse_depth.shape
    depth = 1 / np.maximum(inverse_depth, np.float32(1e-6))
    place = [_affine(part, box) * depth for part in uv]
    index = []
    for axis in (0, 1):
        extent = float(atlas.size[texture, axis])
        # Texels a sample, roughly: the face is nearly upright, so depth hardly changes over it.
        step = float(np.abs(uv[axis, :2]).max() * depth[height // 2, width // 2] * extent)
        level = int(np.clip(round(np.log2(max(step, 1e-6))), 0, atlas.levels[texture, axis]))
        size = int(extent) >> level
        inside = (place[axis] - np.floor(place[axis])) * np.float32(size)
        np.clip(inside, 0.5, size - 0.5, out=inside)
        inside += np.float32(atlas.corner[texture, axis] + 2 * (extent - size) - 0.5)
        index.append(inside)
    found = cv2.remap(atlas.opacity, index[0], index[1], cv2.INTER_LINEAR)
    opaque: Bool[np.ndarray, "height width"] = found >= _OPAQUE
    return opaque
