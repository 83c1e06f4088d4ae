"""What the ground is made of at any place: street, crossing, zebra or land, with its texture coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from training.data.synthetic.frame import Kind
from training.data.synthetic.ground_textures import ASPHALT_M, LAND_M, STRIP_LENGTH_M, STRIP_WIDTH_M
from training.data.synthetic.library import Library
from training.data.synthetic.profile import Profile
from training.data.synthetic.road import Road
from training.data.synthetic.street import Junction

Reals = Float32[np.ndarray, " places"]


@dataclass(frozen=True, kw_only=True)
class Footing:
    """The ground at places seen by a camera."""

    along: Reals
    across: Reals
    texture: Int32[np.ndarray, " places"]
    uv: Float32[np.ndarray, "2 places"]
    footprint: Float32[np.ndarray, "2 places"]
    """Texture coordinates that one sample covers."""
    kind: UInt8[np.ndarray, " places"]


@dataclass(frozen=True)
class Ground:
    """The ground of one world."""

    road: Road
    profile: Profile
    library: Library
    junctions: tuple[Junction, ...]

    def at(self, x: Reals, y: Reals, steps: Float32[np.ndarray, "2 2 places"]) -> Footing:
        """Return the ground at places of the world.

        Args:
            x: In metres.
            y: In metres.
            steps: Change of x and of y (first axis) from a sample to the next column and row (second axis).
        """
        along, across, direction = self.road.coordinates(x, y)
        cosine, sine = direction[:, 0], direction[:, 1]
        wide_along = np.abs(steps[0] * cosine + steps[1] * sine).max(axis=0)
        wide_across = np.abs(steps[1] * cosine - steps[0] * sine).max(axis=0)
        strip = np.abs(across) < np.float32(STRIP_WIDTH_M / 2 - 0.05)
        texture = np.where(strip, np.int32(self.library.strip), np.int32(self.library.land))
        width = np.where(strip, np.float32(STRIP_WIDTH_M), np.float32(LAND_M))
        length = np.where(strip, np.float32(STRIP_LENGTH_M), np.float32(LAND_M))
        # Street coordinates jump far inside a bend; land is textured by those of the world.
        u = np.where(strip, across / width + np.float32(0.5), x / width)
        v = np.where(strip, along / length, y / length)
        kind = self._kinds(across)
        for junction in self.junctions:
            self._cross(junction, along, across, texture, u, v, width, length, kind)
        # On land the axes are the world's: take the larger step for both.
        both = np.maximum(wide_along, wide_across)
        footprint = np.stack(
            [np.where(strip, wide_across, both) / width, np.where(strip, wide_along, both) / length]
        )
        return Footing(
            along=along, across=across, texture=texture, uv=np.stack([u, v]), footprint=footprint, kind=kind
        )

    def _kinds(self, across: Reals) -> UInt8[np.ndarray, " places"]:
        away = np.abs(across)
        profile = self.profile
        kind = np.full(len(across), Kind.TERRAIN, np.uint8)
        kind[away < profile.half_m] = Kind.PAVEMENT if profile.pavement_m > 0 else Kind.TERRAIN
        kind[away < profile.pavement_start_m] = Kind.PAVEMENT if profile.kerb else Kind.TERRAIN
        kind[away < profile.road_half_m] = Kind.ROAD
        return kind

    def _cross(
        self,
        junction: Junction,
        along: Reals,
        across: Reals,
        texture: Int32[np.ndarray, " places"],
        u: Reals,
        v: Reals,
        width: Reals,
        length: Reals,
        kind: UInt8[np.ndarray, " places"],
    ) -> None:
        """Lay a crossing street over the ground, and zebras before and behind it."""
        beside = np.abs(along - np.float32(junction.along_m))
        # The corners are rounded: the crossing street widens towards ours.
        corner = np.maximum(np.float32(4.0) - np.maximum(np.abs(across) - self.profile.road_half_m, 0), 0)
        widened = junction.half_m + np.float32(4.0) - np.sqrt(np.maximum(16 - corner * corner, 0))
        crossing = (beside < widened) & (np.abs(across) < 55)
        self._lay(self.library.asphalt, ASPHALT_M, crossing, along, across, texture, u, v, width, length)
        kind[crossing] = Kind.ROAD
        if junction.zebra:
            near = junction.half_m + 1.2
            striped = (
                (beside > near) & (beside < near + 3) & (np.abs(across) < self.profile.road_half_m - 0.25)
            )
            self._lay(self.library.zebra, 1.0, striped, along, across, texture, u, v, width, length)

    @staticmethod
    def _lay(
        number: int,
        size_m: float,
        where: np.ndarray,
        along: Reals,
        across: Reals,
        texture: Int32[np.ndarray, " places"],
        u: Reals,
        v: Reals,
        width: Reals,
        length: Reals,
    ) -> None:
        texture[where] = number
        u[where] = across[where] / np.float32(size_m)
        v[where] = along[where] / np.float32(size_m)
        width[where] = length[where] = size_m
