"""Where a camera stood as it took a frame: what depth of one frame needs to be compared with the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InvalidArgument

NUMBERS = 12
_LARGEST = 1e7
"""Of any number, in metres: far enough for UTM coordinates."""
_ORTHONORMAL = 0.01
"""How far a rotation's rows may be from length 1 and from right angles: files often have five digits."""


@dataclass(frozen=True)
class Pose:
    """A camera in the world, which is any frame that stands still for as long as the stream lasts.

    Args:
        numbers: The first three rows of ``world_T_camera``, row by row, as in KITTI's pose files: they turn a
            point of the camera's frame (x right, y down, z forward, in metres) into one of the world.

    Raises:
        InvalidArgument: They are no rotation beside a place.
    """

    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.numbers) != NUMBERS:
            raise InvalidArgument(
                f"a pose has {len(self.numbers)} numbers; expected {NUMBERS}: the first three rows of "
                "world_T_camera"
            )
        for number in self.numbers:
            if not (math.isfinite(number) and abs(number) <= _LARGEST):
                raise InvalidArgument(f"a pose holds {number}; expected numbers up to {_LARGEST:g}")
        if not _is_rotation(self.rows):
            raise InvalidArgument(
                f"the first three columns of a pose are {[row[:3] for row in self.rows]}; expected a "
                "rotation: rows of length 1, at right angles, right-handed"
            )

    @property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """The three rows."""
        return tuple(self.numbers[start : start + 4] for start in range(0, NUMBERS, 4))

    @classmethod
    def of(cls, matrix: Sequence[Sequence[float]]) -> "Pose":
        """Return the pose of a 3x4 or 4x4 matrix ``world_T_camera``, such as a NumPy array.

        Raises:
            InvalidArgument: It is none.
        """
        return cls(tuple(float(number) for row in list(matrix)[:3] for number in row))


def pose_of_list(given: object) -> Pose:
    """Return the pose of a JSON value.

    Raises:
        InvalidArgument: It is none.
    """
    if not isinstance(given, list) or not all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in given
    ):
        raise InvalidArgument(f"pose is {str(given)[:40]!r}; expected a list of {NUMBERS} numbers")
    return Pose(tuple(map(float, given)))


def _is_rotation(rows: Sequence[Sequence[float]]) -> bool:
    """Whether the first two rows are at right angles and of length 1, and the third is their product."""
    (a, b, c), (d, e, f), third = (row[:3] for row in rows)
    product = (b * f - c * e, c * d - a * f, a * e - b * d)
    errors = [a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, a * d + b * e + c * f]
    errors += [one - other for one, other in zip(product, third, strict=True)]
    return max(map(abs, errors)) <= _ORTHONORMAL
