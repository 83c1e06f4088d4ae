"""Whether a pose explains two real frames, through LiDAR depth and nothing of the training's own geometry."""

import cv2
import numpy as np

from training.data.sequence import Sample


def photometric_errors(sample: Sample, *, invert: bool = False) -> dict[str, tuple[float, float]]:
    """Mean colour difference at the LiDAR points with and without the pose, for each role."""
    assert sample.depth_m is not None
    row, column = np.nonzero(sample.depth_m)
    rays = np.linalg.inv(sample.intrinsics) @ np.stack([column + 0.5, row + 0.5, np.ones(len(row))])
    points = rays * sample.depth_m[row, column]
    target = _smooth(sample.image)[row, column]
    errors = {}
    for view in sample.sources:
        assert view.source_T_target is not None
        move = np.linalg.inv(view.source_T_target) if invert else view.source_T_target
        u, v, z = sample.intrinsics @ (move[:3, :3] @ points + move[:3, 3:])
        x, y = (u / z - 0.5).astype(np.float32), (v / z - 0.5).astype(np.float32)
        height, width = sample.depth_m.shape
        seen = (z > 0) & (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
        source = _smooth(view.image)
        warped = cv2.remap(source, x[None], y[None], cv2.INTER_LINEAR)[0]
        still = source[row, column]
        errors[view.role] = tuple(float(np.abs(target - other)[seen].mean()) for other in (warped, still))
    return errors


def _smooth(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float32)
