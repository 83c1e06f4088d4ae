"""Disparity and depth: the only place where the unit changes.

*Disparity* is 1/depth, in 1/unit; never pixels. The functions are plain arithmetic, so they serve numpy
arrays and torch tensors alike. What the unit is, a checkpoint's scale says.
"""

from typing import Any, Protocol, TypeVar, runtime_checkable


@runtime_checkable
class _Arithmetic(Protocol):
    """What numpy arrays, tensors and floats have in common here."""

    def __add__(self, other: float, /) -> Any: ...
    def __mul__(self, other: float, /) -> Any: ...
    def __rtruediv__(self, other: float, /) -> Any: ...


Values = TypeVar("Values", bound=_Arithmetic)


def disparity_to_depth(disparity: Values, scale: float = 1.0) -> Values:
    """Return scale / disparity. Disparity must be positive, as every network's output is."""
    depth: Values = scale / disparity
    return depth


def depth_to_disparity(depth: Values) -> Values:
    """Return 1 / depth. Depth must be positive: mask missing measurements first."""
    disparity: Values = 1.0 / depth
    return disparity


def sigmoid_to_disparity(sigmoid: Values, min_depth: float, max_depth: float) -> Values:
    """Spread a sigmoid's (0, 1) over the disparities between two depths.

    ``1/max + (1/min - 1/max) * s`` (Godard et al., "Digging into Self-Supervised Monocular Depth
    Estimation", ICCV 2019, section 3): 0 is the farthest depth, 1 the nearest.
    """
    farthest, nearest = depth_to_disparity(max_depth), depth_to_disparity(min_depth)
    disparity: Values = sigmoid * (nearest - farthest) + farthest
    return disparity


def disparity_to_sigmoid(disparity: Values, min_depth: float, max_depth: float) -> Values:
    """Invert :func:`sigmoid_to_disparity`."""
    farthest, nearest = depth_to_disparity(max_depth), depth_to_disparity(min_depth)
    sigmoid: Values = (disparity + -farthest) * (1.0 / (nearest - farthest))
    return sigmoid
