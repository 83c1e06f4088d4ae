"""What a unit of a network's depth is worth in metres, by one thing that is known of its own video.

A camera's height over the ground fixes the unit in each frame that shows level ground; distances that were
measured fix it at their pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from model.ground import NoGroundError, find_ground
from model.metadata import LearnedCamera
from training.data.mixture import Mixture
from training.data.prepared import PreparedDataset
from training.data.sequence import Sample

_FRAMES = 100
"""At most so many are looked at, evenly over the video."""
_LEAST_FRAMES = 0.2
"""Share of the frames that have to show the ground."""
_ONE_LENS = 1.05
_MAD_TO_DEVIATION = 1.4826
"""Of a normal distribution: its standard deviation over its median absolute deviation."""

Predict = Callable[[UInt8[np.ndarray, "height width 3"]], Float32[np.ndarray, "height width"]]
"""From an image of the network's size to depth in the network's unit."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames of a data set, and the same at the network's size."""

    dataset: Mixture
    resized: PreparedDataset

    @classmethod
    def of(cls, dataset: Mixture, height: int, width: int) -> "Frames":
        """Return the frames with those of a height and a width in pixels."""
        resized = PreparedDataset(dataset, height=height, width=width, max_bytes=0, depth=False)
        return cls(dataset=dataset, resized=resized)


@dataclass(frozen=True, kw_only=True)
class Metres:
    """What a unit is worth."""

    per_unit: float
    """The median over what was looked at."""
    spread: float
    """A robust standard deviation of that between frames, relative to it."""
    counted: int
    """Frames, or distances, that it is the median of."""
    of: int
    """How many were looked at."""
    fy_per_height: float | None
    """Of the lens; None where there are several."""

    def __str__(self) -> str:
        return (
            f"{self.per_unit:.4g} metres a unit, with a spread of {self.spread:.1%} between "
            f"{self.counted} of {self.of} frames"
        )


@dataclass(frozen=True, kw_only=True)
class Distance:
    """A distance along the optical axis that was measured."""

    key: str
    """Of the frame, or its end, as in 000012."""
    x_px: float
    """In pixels of the frame as it is read: upright, after its rows were cut."""
    y_px: float
    metres: float


def by_height(predict: Predict, frames: Frames, cameras: Sequence[LearnedCamera], height_m: float) -> Metres:
    """Find the unit by the camera's height over level ground.

    Args:
        predict: The network.
        frames: What it is asked about.
        cameras: Those that training learned.
        height_m: Of the camera over the ground.

    Raises:
        ValueError: Too few frames show the ground, or a lens is not known.
    """
    if not height_m > 0:
        raise ValueError(f"camera_height_m is {height_m}; expected more than 0")
    count = len(frames.dataset)
    chosen = np.unique(np.linspace(0, count - 1, min(_FRAMES, count)).round().astype(int))
    found, lenses, missed = [], [], ""
    for index in chosen.tolist():
        sample = frames.resized[index]
        matrix = _intrinsics(sample, cameras)
        lenses.append(float(matrix[1, 1]) / sample.image.shape[0])
        rows, columns = sample.image.shape[:2]
        x = ((np.arange(columns) + 0.5 - matrix[0, 2]) / matrix[0, 0]).astype(np.float32)
        y = ((np.arange(rows) + 0.5 - matrix[1, 2]) / matrix[1, 1]).astype(np.float32)
        try:
            found.append(height_m / find_ground(predict(sample.image), x, y).height)
        except NoGroundError as error:
            missed = f"{sample.key}: {error}"
    if len(found) < max(1, _LEAST_FRAMES * len(chosen)):
        raise ValueError(
            f"{len(found)} of {len(chosen)} frames show level ground below the camera, too few to fit its "
            f"height; expected a road, or --known-distance. {missed}"
        )
    return _fitted(found, len(chosen), lenses)


def by_distances(
    predict: Predict, frames: Frames, cameras: Sequence[LearnedCamera], distances: Sequence[Distance]
) -> Metres:
    """Find the unit by distances that were measured.

    Args:
        predict: The network.
        frames: Among which those are that the distances are in.
        cameras: Those that training learned.
        distances: At least one.

    Raises:
        ValueError: No frame has such a name, or a pixel is outside.
    """
    found, lenses = [], []
    for distance in distances:
        index = _numbered(frames.dataset, distance.key)
        sample, whole = frames.resized[index], frames.dataset[index].image.shape
        if not (0 <= distance.x_px < whole[1] and 0 <= distance.y_px < whole[0] and distance.metres > 0):
            raise ValueError(
                f"known_distance is {distance}; expected x below {whole[1]}, y below {whole[0]} and metres "
                "above 0"
            )
        rows, columns = sample.image.shape[:2]
        row = int(distance.y_px * rows / whole[0])
        column = int(distance.x_px * columns / whole[1])
        window = predict(sample.image)[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        found.append(distance.metres / float(np.median(window)))
        if sample.intrinsics_known or any(camera.name == sample.camera for camera in cameras):
            lenses.append(float(_intrinsics(sample, cameras)[1, 1]) / rows)
    return _fitted(found, len(distances), lenses)


def _numbered(dataset: Mixture, key: str) -> int:
    found = [index for index, one in enumerate(dataset.keys) if one == key or one.endswith(f"/{key}")]
    if len(found) != 1:
        raise ValueError(
            f"known_distance names the frame {key!r}, and {len(found)} have that name; expected one, such as "
            f"{dataset.keys[0]!r}"
        )
    return found[0]


def _intrinsics(sample: Sample, cameras: Sequence[LearnedCamera]) -> Float32[np.ndarray, "3 3"]:
    """Return a frame's intrinsics at its size, with what training learned of its camera."""
    if sample.intrinsics_known:
        return sample.intrinsics
    learned = next((camera for camera in cameras if camera.name == sample.camera), None)
    if learned is None:
        raise ValueError(
            f"the checkpoint has learned no camera {sample.camera!r}; expected the line of --data that it "
            "was trained on, or fov_deg, focal_px or calibration in place of learn_intrinsics"
        )
    matrix = sample.intrinsics.copy()
    height, width = sample.image.shape[:2]
    matrix[0, 0], matrix[1, 1] = learned.fx_per_width * width, learned.fy_per_height * height
    return matrix


def _fitted(found: Sequence[float], of: int, lenses: Sequence[float]) -> Metres:
    middle = float(np.median(found))
    spread = _MAD_TO_DEVIATION * float(np.median(np.abs(np.array(found) - middle))) / middle
    one = bool(lenses) and max(lenses) <= _ONE_LENS * min(lenses)
    return Metres(
        per_unit=middle,
        spread=spread,
        counted=len(found),
        of=of,
        fy_per_height=float(np.median(lenses)) if one else None,
    )
