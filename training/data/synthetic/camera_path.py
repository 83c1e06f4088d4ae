"""How the camera's car drives: speed, place in its lane, and the camera's lens and seat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from training.data.synthetic.camera import Camera, Matrix3, look, rigid
from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.road import Road

FIRST_FRAME = -1
"""One frame is drawn before the first sample, and one after the last."""


@dataclass(frozen=True, kw_only=True)
class Drive:
    """The camera's place on the street at each frame from `FIRST_FRAME` on."""

    along_m: Float64[np.ndarray, " frames"]
    across_m: Float64[np.ndarray, " frames"]
    yaw: Float64[np.ndarray, " frames"]
    """Beside the street's heading, in radians."""
    pitch: Float64[np.ndarray, " frames"]
    roll: Float64[np.ndarray, " frames"]
    height_m: float
    intrinsics: Matrix3
    baseline_m: float

    def camera(self, road: Road, frame: int, height: int, width: int, *, right: bool = False) -> Camera:
        """Return the camera at a frame, or its right-hand companion."""
        index = frame - FIRST_FRAME
        ground, heading = road.at(float(self.along_m[index]), float(self.across_m[index]))
        # The car's suspension smooths the bends of the land: take the mean slope around it.
        ahead, _ = road.at(float(self.along_m[index]) + 3, float(self.across_m[index]))
        behind, _ = road.at(float(self.along_m[index]) - 3, float(self.across_m[index]))
        slope = np.arctan((ahead[2] - behind[2]) / 6)
        rotation = look(heading + self.yaw[index], slope + self.pitch[index], float(self.roll[index]))
        position = ground + np.array([0.0, 0.0, self.height_m])
        if right:
            position = position + rotation[:, 0] * self.baseline_m
        return Camera(
            intrinsics=self.intrinsics, world_T_camera=rigid(rotation, position), height=height, width=width
        )


def route_length_m(config: SyntheticConfig) -> float:
    """Return an upper bound of the way that a sequence drives."""
    return (config.frames + 2) * config.max_speed_m_per_s / config.frames_per_s


def draw_drive(rng: np.random.Generator, config: SyntheticConfig, own_lane_m: float, fast: float) -> Drive:
    """Draw a drive.

    Args:
        rng: Decides it.
        config: Gives speeds, frame rate and the image's size.
        own_lane_m: Across, of the middle of the car's lane.
        fast: From 0 to 1, where the speed lies between the least and the greatest.
    """
    count = config.frames + 2
    time_s = np.arange(count) / config.frames_per_s
    low, high = config.min_speed_m_per_s, config.max_speed_m_per_s
    mean = low + (high - low) * float(np.clip(fast + rng.uniform(-0.3, 0.3), 0, 1))
    swing = 1 + 0.15 * np.sin(time_s * rng.uniform(0.3, 1.2) + rng.uniform(0, 6.3))
    speed = np.clip(mean * swing, low, high)
    along = np.concatenate([[0.0], np.cumsum(speed[:-1])]) / config.frames_per_s

    def sway(strength: float, slow: float, quick: float) -> Float64[np.ndarray, " frames"]:
        return strength * np.sin(time_s * rng.uniform(slow, quick) + rng.uniform(0, 6.3))

    across = own_lane_m + rng.uniform(-0.25, 0.25) + sway(0.12, 0.2, 0.9)
    drift = np.gradient(across, along) if count > 1 else np.zeros(count)
    mount_pitch, mount_roll, mount_yaw = rng.normal(0, (0.012, 0.008, 0.01))
    return Drive(
        along_m=along,
        across_m=across,
        yaw=mount_yaw + np.arctan(drift) + sway(0.004, 1, 4),
        pitch=mount_pitch + sway(0.004, 3, 9) + sway(0.002, 8, 14),
        roll=mount_roll + sway(0.005, 2, 6),
        height_m=float(rng.normal(1.65, 0.08)),
        intrinsics=_draw_intrinsics(rng, config.height, config.width),
        baseline_m=config.baseline_m,
    )


def _draw_intrinsics(rng: np.random.Generator, height: int, width: int) -> Matrix3:
    """Return a lens near KITTI's: a focal length of 0.58 widths, the horizon a little above the middle."""
    focal = 0.58 * width * float(np.exp(rng.normal(0, 0.06)))
    cx = width * (0.5 + rng.normal(0, 0.01))
    cy = height * (0.475 + rng.normal(0, 0.015))
    return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
