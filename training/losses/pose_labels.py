"""The pose network learns from the poses that the data knows.

    mean over known views through time of |t - t*|_1 / (|t*|_1 + 0.1) + 10 |R - R*|_1 / 9

Translations count relative to their length, in metres, so that slow and fast drives weigh alike; 10 brings
rotations, a few hundredths of a radian, to the same size. The form is ours.
"""

from jaxtyping import Bool, Float
from torch import Tensor

_REST_M = 0.1
_ROTATION = 10.0


def pose_labels(
    predicted: Float[Tensor, "batch views 4 4"],
    known: Float[Tensor, "batch views 4 4"],
    counted: Bool[Tensor, "batch views"],
) -> Float[Tensor, " batch"]:
    """Return the distance to the known poses; 0 for samples without.

    Args:
        predicted: `source_T_target` of the network.
        known: That of the data.
        counted: Which views are compared.
    """
    difference = (predicted - known)[..., :3, :].abs()
    length = known[..., :3, 3].abs().sum(dim=-1)
    translation = difference[..., 3].sum(dim=-1) / (length + _REST_M)
    rotation = difference[..., :3].mean(dim=(-1, -2))
    each = (translation + _ROTATION * rotation).masked_fill(~counted, 0.0)
    return each.sum(dim=1) / counted.sum(dim=1).clamp(min=1)
