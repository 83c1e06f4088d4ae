"""Semi-global matching: of every plane's cost at every pixel, a cost that prefers neighbours on one surface.

    L(p, d) = C(p, d) + min(L(q, d), L(q, d - 1) + P1, L(q, d + 1) + P1, min_k L(q, k) + P2) - min_k L(q, k)

where q comes before p on a path; summed over paths, here from the left, the right, above and below
(Hirschmüller, "Stereo Processing by Semiglobal Matching and Mutual Information", TPAMI 2008, equations 13
and 14). A step of more than one plane is cheaper across an edge of the image.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, kw_only=True)
class SmoothnessPenalties:
    """What it costs to leave a neighbour's plane, in the unit of the costs."""

    one_plane: float = 0.03
    """P1: for a step to the next plane, as on a slanted surface."""
    many_planes: float = 0.3
    """P2: for a larger step, where the image shows no edge at all."""
    many_planes_at_edges: float = 0.08
    """P2 across a strong edge."""
    edge: float = 0.05
    """The difference of grey values, 0 to 1, that halves P2."""

    def __post_init__(self) -> None:
        if not 0 <= self.one_plane <= self.many_planes_at_edges <= self.many_planes or self.edge <= 0:
            raise ValueError(
                f"penalties are {self.one_plane}, {self.many_planes_at_edges} and {self.many_planes}, "
                f"edge {self.edge}; expected 0 <= one_plane <= many_planes_at_edges <= many_planes, 0 < edge"
            )


def aggregate(
    cost: Float32[np.ndarray, "height width planes"],
    grey: Float32[np.ndarray, "height width"],
    penalties: SmoothnessPenalties,
) -> Float32[np.ndarray, "height width planes"]:
    """Return the costs summed over four paths.

    Args:
        cost: Of every plane at every pixel; its planes in the order of their distance.
        grey: The image, 0 to 1.
        penalties: For leaving a neighbour's plane.
    """
    total = np.zeros_like(cost)
    for axis in (0, 1):
        lines, shades = np.moveaxis(cost, axis, 0), np.moveaxis(grey, axis, 0)
        result = np.moveaxis(total, axis, 0)
        for order in (1, -1):
            _along(lines[::order], shades[::order], penalties, result[::order])
    return total


def _along(
    cost: Float32[np.ndarray, "lines across planes"],
    grey: Float32[np.ndarray, "lines across"],
    penalties: SmoothnessPenalties,
    total: Float32[np.ndarray, "lines across planes"],
) -> None:
    """Add one path's costs to the total, from the first line to the last."""
    path = np.ascontiguousarray(cost[0])
    total[0] += path
    one = np.float32(penalties.one_plane)
    for line in range(1, len(cost)):
        step = np.abs(grey[line] - grey[line - 1])
        span = penalties.many_planes - penalties.many_planes_at_edges
        many = penalties.many_planes_at_edges + span / (1 + (step / penalties.edge))
        least = path.min(axis=1, keepdims=True)
        best = np.minimum(path, least + many[:, None].astype(np.float32))
        stepped = path + one
        np.minimum(best[:, 1:], stepped[:, :-1], out=best[:, 1:])
        np.minimum(best[:, :-1], stepped[:, 1:], out=best[:, :-1])
        best -= least
        best += cost[line]
        path = best
        total[line] += path
