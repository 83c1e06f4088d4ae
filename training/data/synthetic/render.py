"""Draw what a camera sees of a world at one frame: colours of the nearest faces, light, haze, lens, sensor.

Every texture is read at the scale at which a texel is about a sample.
"""

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from training.data.synthetic.atlas import Atlas
from training.data.synthetic.camera import Camera
from training.data.synthetic.faces import GROUND_TEXTURE, Faces
from training.data.synthetic.frame import Kind, SyntheticFrame
from training.data.synthetic.ground import Footing
from training.data.synthetic.lookup import read_at
from training.data.synthetic.raster import Hits, Projected, project, rasterise
from training.data.synthetic.sensor import expose
from training.data.synthetic.traffic import Mover
from training.data.synthetic.world import World

Reals = Float32[np.ndarray, " places"]
_MAX_TEXTURE_PX = 1024.0


def draw(world: World, camera: Camera, frame: int, *, noise: float = 1.0, eye: int = 0) -> SyntheticFrame:
    """Draw a frame.

    Args:
        world: What there is.
        camera: From where it is seen.
        frame: At what time.
        noise: Strength of the sensor's noise.
        eye: Gives each camera of a pair its own noise.
    """
    faces, shades, moves = world.faces(frame)
    projected = project(faces, camera)
    hits = rasterise(projected, faces, world.atlas, camera)
    samples = _Samples(world, camera, faces, projected, hits)
    colours = samples.colours(shades, frame)
    rng = np.random.default_rng([world.seed, frame + 1000, eye])
    centre = (slice(1, None, 2), slice(1, None, 2))
    inverse_depth, face = hits.inverse_depth[centre], hits.face[centre]
    sky = face < 0
    depth_m = np.where(sky, np.float32(0), 1 / np.where(sky, np.float32(1), inverse_depth))
    moving = ~sky & moves[projected.number[face]] if len(projected.number) else np.zeros_like(sky)
    return SyntheticFrame(
        image=expose(rng, colours, world.light, noise),
        depth_m=depth_m.astype(np.float32),
        sky=sky,
        moving=moving,
        kinds=samples.kinds()[centre],
        intrinsics=camera.intrinsics.astype(np.float32),
        world_T_camera=camera.world_T_camera.astype(np.float32),
    )


class _Samples:
    """All samples of an image that hit something, and those that do not."""

    def __init__(self, world: World, camera: Camera, faces: Faces, projected: Projected, hits: Hits) -> None:
        self._world = world
        self._camera = camera
        self._faces = faces
        self._number = projected.number
        flat = hits.face.ravel()
        self._hit = np.flatnonzero(flat >= 0).astype(np.int32)
        self._sky = np.flatnonzero(flat < 0).astype(np.int32)
        self._face = flat[self._hit]
        inverse_depth = hits.inverse_depth.ravel()[self._hit]
        self._depth = 1 / inverse_depth
        texture = faces.texture[projected.number][self._face]
        uv, steps = self._places(projected)
        self._on_ground = np.flatnonzero(texture == GROUND_TEXTURE).astype(np.int32)
        footprint = np.abs(steps).max(axis=1)
        ground = self._on_ground
        self._footing: Footing = world.ground.at(
            uv[0][ground], uv[1][ground], np.ascontiguousarray(steps[:, :, ground])
        )
        texture[ground] = self._footing.texture
        uv[:, ground], footprint[:, ground] = self._footing.uv, self._footing.footprint
        self._texture, self._uv, self._footprint = texture, uv, footprint

    def _places(
        self, projected: Projected
    ) -> tuple[Float32[np.ndarray, "2 places"], Float32[np.ndarray, "2 2 places"]]:
        """Return texture coordinates, and their change to the next column and the next row."""
        columns = self._camera.columns
        row = (self._hit // columns).astype(np.float32)
        column = (self._hit % columns).astype(np.float32)
        face, depth = self._face, self._depth
        a_depth, b_depth = (projected.inverse_depth[:, axis].astype(np.float32)[face] for axis in (0, 1))
        uv = np.empty((2, len(face)), np.float32)
        steps = np.empty((2, 2, len(face)), np.float32)
        for axis in (0, 1):
            a, b, c = (projected.uv[:, axis, part].astype(np.float32)[face] for part in range(3))
            value = (a * column + b * row + c) * depth
            uv[axis] = value
            steps[axis, 0] = (a - value * a_depth) * depth
            steps[axis, 1] = (b - value * b_depth) * depth
        return uv, steps

    def colours(
        self, shades: Float32[np.ndarray, "faces 3"], frame: int
    ) -> Float32[np.ndarray, "rows columns 3"]:
        """Return the light that every sample receives."""
        camera, light = self._camera, self._world.light
        colours = np.empty((camera.rows * camera.columns, 3), np.float32)
        lit = shades[self._number][self._face]
        lit[self._on_ground] = self._ground_light(frame)
        albedo = sample(self._world.atlas, self._texture, self._uv, self._footprint)
        lit *= albedo
        clear = np.exp(-np.float32(light.haze_per_m) * self._depth)[:, None]
        lit *= clear
        lit += light.haze * (1 - clear)
        colours[self._hit] = lit
        row, column = self._sky // camera.columns, self._sky % camera.columns
        places = np.stack([column, row, np.ones_like(row)], axis=1).astype(np.float32)
        colours[self._sky] = self._world.sky.colours(places @ camera.rays().T.astype(np.float32))
        return colours.reshape(camera.rows, camera.columns, 3)

    def _ground_light(self, frame: int) -> Float32[np.ndarray, "ground 3"]:
        world, footing = self._world, self._footing
        sun, sky = world.ground_light.at(footing.along, footing.across)
        ground = self._on_ground
        for mover in world.movers:
            dimmed = self._below(mover, frame, footing)
            if dimmed is not None:
                where, share = dimmed
                sky[where] *= share
                sun[where] *= share
        light = world.light
        lit: Float32[np.ndarray, "ground 3"] = sky[:, None] * light.ambient
        normals = self._faces.normals()[:, 2].astype(np.float32)
        upright = normals[self._number][self._face[ground]] * np.float32(light.to_sun[2])
        lit += (sun * upright)[:, None] * light.sun
        return lit

    def _below(
        self, mover: Mover, frame: int, footing: Footing
    ) -> tuple[Int32[np.ndarray, " near"], Reals] | None:
        """Return the ground below and beside a mover, and the share of light that is left there."""
        index = frame + 1
        ahead = footing.along - np.float32(mover.along_m[index])
        reach = np.float32(mover.half_length_m + 0.7)
        where = np.flatnonzero(np.abs(ahead) < reach).astype(np.int32)
        if not len(where):
            return None
        ahead, left = ahead[where], footing.across[where] - np.float32(mover.across_m[index])
        cosine, sine = np.float32(np.cos(mover.angle)), np.float32(np.sin(mover.angle))
        outside_x = np.maximum(np.abs(ahead * cosine + left * sine) - (mover.half_length_m - 0.25), 0)
        outside_y = np.maximum(np.abs(left * cosine - ahead * sine) - (mover.half_width_m - 0.2), 0)
        outside = np.sqrt(outside_x**2 + outside_y**2)
        return where, (1 - 0.75 * np.exp(-((outside / 0.4) ** 2))).astype(np.float32)

    def kinds(self) -> UInt8[np.ndarray, "rows columns"]:
        """Return the kind of what every sample hits."""
        camera = self._camera
        kinds = np.full(camera.rows * camera.columns, Kind.SKY, np.uint8)
        kinds[self._hit] = self._faces.kind[self._number][self._face]
        kinds[self._hit[self._on_ground]] = self._footing.kind
        return kinds.reshape(camera.rows, camera.columns)


def sample(
    atlas: Atlas,
    texture: Int32[np.ndarray, " places"],
    uv: Float32[np.ndarray, "2 places"],
    footprint: Float32[np.ndarray, "2 places"],
) -> Float32[np.ndarray, "places 3"]:
    """Return textures' colours from 0 to 1 at texture coordinates, which repeat at 1."""
    places = []
    for axis in (0, 1):
        size = atlas.size[:, axis][texture]
        level = np.log2(np.maximum(footprint[axis] * size, np.float32(1.0)))
        level = np.minimum(np.rint(level), atlas.levels[:, axis][texture])
        texels = np.ldexp(size, -level.astype(np.int32))
        inside = uv[axis] - np.floor(uv[axis])
        # Half a texel from the border, so that the neighbouring scale does not bleed in.
        place = np.clip(inside * texels, np.float32(0.5), texels - np.float32(0.5))
        places.append(atlas.corner[:, axis][texture] + 2 * (size - texels) + place - np.float32(0.5))
    found = read_at(atlas.pixels, places[0], places[1])
    return found.astype(np.float32) * np.float32(1 / 255)
