"""A street that is drawn by a few planes, as a phone behind a windscreen films it: exact depth, known lens.

The camera weaves and turns, because only turning tells of a lens; its own bonnet hides the lowest rows.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

SKY_M = 1e4
_WEAVES = 23
"""Frames in which it weaves to one side, to the other, and back."""


@dataclass(frozen=True, kw_only=True)
class Street:
    """A drive, and the camera that sees it."""

    frames: int = 120
    height: int = 192
    width: int = 320
    fov_deg: float = 75.0
    camera_height_m: float = 1.4
    step_m: float = 0.35
    turn_deg: float = 9.0
    """How far it looks to both sides as it weaves."""
    slides: bool = True
    """Whether it goes 1.2 m to both sides, as on a sledge; else where it looks, as a car does."""
    grain: float = 9.0
    """Of the textures, in cells a metre."""
    bonnet: float = 0.12
    """The share of the rows that the bonnet hides."""
    seed: int = 0

    @property
    def focal_px(self) -> float:
        return self.width / 2 / np.tan(np.radians(self.fov_deg) / 2)

    def pose(self, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """world_R_camera and the place; the world's y points down and the ground lies at 0."""
        phase = 2 * np.pi * frame / _WEAVES
        yaw, pitch = np.radians(self.turn_deg) * np.sin(phase), np.radians(1.2) * np.sin(1.7 * phase + 1)
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array(
            [[1, 0, 0], [0, cp, -sp], [0, sp, cp]]
        )
        driven_m = -self.step_m * np.radians(self.turn_deg) * _WEAVES / (2 * np.pi) * np.cos(phase)
        aside_m = 1.2 * np.sin(phase + 0.6) if self.slides else driven_m
        return turn, np.array([aside_m, -self.camera_height_m, self.step_m * frame])

    def draw(self, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """Return RGB and depth in metres."""
        rows, columns = np.mgrid[: self.height, : self.width] + 0.5
        rays = np.stack(
            [
                (columns - self.width / 2) / self.focal_px,
                (rows - self.height / 2) / self.focal_px,
                np.ones_like(rows),
            ],
            axis=-1,
        ).reshape(-1, 3)
        turn, place = self.pose(frame)
        rays = rays @ turn.T
        depth = np.full(len(rays), SKY_M)
        colour = np.repeat(np.array([[150.0, 180, 215]]), len(rays), axis=0)
        colour += (
            60
            * self._look(
                self._clouds, rays[:, 0] / (abs(rays[:, 1]) + 0.2), rays[:, 2] / (abs(rays[:, 1]) + 0.2), 9
            )[:, None]
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            self._plane(rays, place, 1, 0.0, None, depth, colour, 0)
            for box, (low, high) in enumerate(self._boxes):
                if not place[2] - 3 < high[2] < place[2] + 70:
                    continue
                self._box(rays, place, low, high, depth, colour, box)
        image = np.clip(colour, 0, 255).reshape(self.height, self.width, 3).astype(np.uint8)
        image = self._with_bonnet(image)
        return image, depth.reshape(self.height, self.width).astype(np.float32)

    @cached_property
    def _boxes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Walls on both sides in pieces, and things that are parked before them."""
        rng = np.random.default_rng(self.seed)
        length = self.frames * self.step_m + 80
        found = []
        for side in (-1, 1):
            at = -5.0
            while at < length:
                deep, high, across = rng.uniform(4, 9), rng.uniform(4, 9), rng.uniform(5, 7)
                inner, outer = sorted((side * across, side * (across + 4)))
                found.append((np.array([inner, -high, at]), np.array([outer, 0.0, at + deep])))
                if rng.random() < 0.8:
                    start = at + rng.uniform(0, 3)
                    inner, outer = sorted((side * 3.2, side * 4.8))
                    tall = rng.uniform(1.0, 2.2)
                    found.append(
                        (np.array([inner, -tall, start]), np.array([outer, 0.0, start + rng.uniform(1, 4)]))
                    )
                at += deep + rng.uniform(0, 3)
        found.append((np.array([-30.0, -12, length]), np.array([30.0, 0, length + 1])))
        return found

    def _box(self, rays, place, low, high, depth, colour, number) -> None:
        near, far = ((bound - place) / rays for bound in (low, high))
        enter, leave = np.minimum(near, far), np.maximum(near, far)
        axis = enter.argmax(axis=1)
        at, end = enter.max(axis=1), leave.min(axis=1)
        hit = (at < end) & (at > 0.1) & (at < depth)
        if not hit.any():
            return
        points = place + rays[hit] * at[hit, None]
        across = np.where(axis[hit] == 0, points[:, 2], points[:, 0])
        up = np.where(axis[hit] == 1, points[:, 2], points[:, 1])
        depth[hit] = at[hit]
        colour[hit] = self._painted(across + 7.3 * number, up + 3.1 * number, number + 1)
        colour[hit] *= np.array([0.75, 1.1, 0.95])[axis[hit]][:, None]

    def _plane(self, rays, place, axis, level, _, depth, colour, number) -> None:
        at = (level - place[axis]) / rays[:, axis]
        hit = (at > 0.1) & (at < 300)
        points = place + rays[hit] * at[hit, None]
        depth[hit] = at[hit]
        colour[hit] = self._painted(points[:, 0], points[:, 2], number)

    def _painted(self, x, y, number) -> np.ndarray:
        rng = np.random.default_rng(1000 * self.seed + number)
        base = rng.uniform(70, 170, 3)
        fine, coarse = (
            self._look(self._noise, x, y, self.grain),
            self._look(self._noise, x + 50, y + 20, self.grain / 4),
        )
        return base * (1 + 0.55 * coarse + 0.3 * fine)[:, None]

    @cached_property
    def _noise(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 7)
        return (
            cv2.GaussianBlur(
                rng.normal(0, 1, (512, 512)).astype(np.float32), (0, 0), 1.2, borderType=cv2.BORDER_REFLECT
            )
            * 2.5
        )

    @cached_property
    def _clouds(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 8)
        return cv2.GaussianBlur(rng.normal(0, 1, (512, 512)).astype(np.float32), (0, 0), 8) * 8

    @staticmethod
    def _look(texture, x, y, per_m) -> np.ndarray:
        """Texture at places in metres, linear between its cells."""
        places = np.zeros(
            (2, -(-len(x) // 256) * 256), np.float32
        )  # OpenCV takes no more columns than 32,767
        places[0, : len(x)], places[1, : len(y)] = np.mod(x * per_m, 511), np.mod(y * per_m, 511)
        u, v = places.reshape(2, -1, 256)
        return np.clip(cv2.remap(texture, u, v, cv2.INTER_LINEAR).ravel()[: len(x)], -1, 1)

    def _with_bonnet(self, image) -> np.ndarray:
        if not self.bonnet:
            return image
        rows, columns = np.mgrid[: self.height, : self.width]
        edge = self.height * (1 - self.bonnet * (1 - 0.4 * (2 * columns / self.width - 1) ** 2))
        image[rows > edge] = (35, 40, 48)
        image[(rows > edge) & (np.abs(columns - 0.6 * self.width) < 4)] = (120, 125, 130)
        return image
