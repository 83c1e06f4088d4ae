"""Backproject, project, warp: what another camera would have seen, given disparity and the move between them.

The pixel convention of the whole project, held by a test: the centre of the pixel in row i and column j is
at (j + 0.5, i + 0.5), so an image reaches from 0 to its width and height whatever its resolution, and every
resampling has ``align_corners=False``. Camera axes are x right, y down, z forward; ``source_T_target``
moves points from the target's camera into the source's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

_MIN_Z = 1e-4
"""Homogeneous z below which a point counts as beside or behind the source camera."""


@dataclass(frozen=True, kw_only=True)
class SamplingGrid:
    """Where each target pixel lies in each source view."""

    places: Float[Tensor, "batch views height width 2"]
    """x and y as `torch.nn.functional.grid_sample` wants them: -1 to 1 from edge to edge."""
    valid: Bool[Tensor, "batch views height width"]
    """Whether the place is inside the source image and in front of its camera."""


@dataclass(frozen=True, kw_only=True)
class Warped:
    """The source views as seen from the target camera."""

    images: Float[Tensor, "batch views channels height width"]
    """Where not valid, the nearest pixel of the source's border."""
    valid: Bool[Tensor, "batch views height width"]


def pixel_centres(
    height: int, width: int, like: Float[Tensor, "*any"]
) -> tuple[Float[Tensor, " width"], Float[Tensor, " height"]]:
    """Return the x of every column and the y of every row in pixels, on the device of `like`."""
    x = torch.arange(width, dtype=like.dtype, device=like.device) + 0.5
    y = torch.arange(height, dtype=like.dtype, device=like.device) + 0.5
    return x, y


def constant(values: Sequence[Sequence[float]], like: Float[Tensor, "*any"]) -> Float[Tensor, "rows columns"]:
    """Return a small matrix that is made on the device of `like`.

    `torch.tensor` copies its values there: the host waits until the device has done all that was queued.
    """
    made = like.new_zeros(len(values), len(values[0]))
    for row, numbers in zip(made, values, strict=True):
        for place, number in zip(row, numbers, strict=True):
            if number:
                place.fill_(number)
    return made


def invert_intrinsics(intrinsics: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 3 3"]:
    """Return the inverse matrices; unlike `torch.linalg.inv`, without waiting to hear that there are any."""
    inverse: Float[Tensor, "batch 3 3"] = torch.linalg.inv_ex(intrinsics).inverse
    return inverse


def resize_intrinsics(
    intrinsics: Float[Tensor, "batch 3 3"], scale_x: float, scale_y: float
) -> Float[Tensor, "batch 3 3"]:
    """Return the intrinsics of an image resized by these factors; pixel centres at +0.5 make it exact."""
    across, down, last = intrinsics.unbind(dim=1)
    return torch.stack((across * scale_x, down * scale_y, last), dim=1)


def backproject(
    depth: Float[Tensor, "batch 1 height width"], intrinsics: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch 3 height width"]:
    """Return each pixel's point in the camera's frame, in the unit of depth."""
    rays = pixel_rays(intrinsics, depth.shape[-2], depth.shape[-1])
    return rays * depth


def pixel_rays(
    intrinsics: Float[Tensor, "batch 3 3"], height: int, width: int
) -> Float[Tensor, "batch 3 height width"]:
    """Return the point at depth 1 behind each pixel."""
    return _over_pixels(invert_intrinsics(intrinsics), height, width)


def project(
    points: Float[Tensor, "batch 3 height width"], intrinsics: Float[Tensor, "batch 3 3"]
) -> tuple[Float[Tensor, "batch 2 height width"], Float[Tensor, "batch 1 height width"]]:
    """Return where points appear, in pixels, and their depth; behind the camera the place means nothing."""
    homogeneous = torch.einsum("bij,bjhw->bihw", intrinsics, points)
    depth = homogeneous[:, 2:]
    return homogeneous[:, :2] / depth.clamp(min=_MIN_Z), depth


def sampling_grid(
    disparity: Float[Tensor, "batch _ height width"],
    intrinsics: Float[Tensor, "batch 3 3"],
    source_T_target: Float[Tensor, "batch views 4 4"],
) -> SamplingGrid:
    """Find each target pixel in each source view, all of the target's size and intrinsics.

    With M = K R K^-1 and d = 1/depth, pixel p comes to lie at M p + d K t up to a factor. So backprojection
    and projection need no points, nothing is divided by d, and M p is a sum of one row and one column.

    Args:
        disparity: Of the target, in 1/unit; one for all views, or one for each.
        intrinsics: In pixels of `disparity`.
        source_T_target: Its translation in the same unit.
    """
    height, width = disparity.shape[-2:]
    rotation, translation = source_T_target[..., :3, :3], source_T_target[..., :3, 3]
    eye = torch.eye(3, dtype=disparity.dtype, device=disparity.device)
    # I + K (R - I) K^-1 rather than K R K^-1: without rotation it is the identity to the last bit.
    turn = eye + intrinsics[:, None] @ (rotation - eye) @ invert_intrinsics(intrinsics)[:, None]
    shift = (intrinsics[:, None] @ translation[..., None]).squeeze(-1)
    # Pixels -> -1 to 1 is one more matrix, so it is free.
    to_unit = constant([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], disparity)
    turned = _over_pixels((to_unit @ turn).flatten(0, 1), height, width)
    x, y, z = turned.reshape(*source_T_target.shape[:2], 3, height, width).unbind(dim=2)
    shift_x, shift_y, shift_z = (shift @ to_unit.T)[..., None, None].unbind(dim=2)
    z = torch.addcmul(z, shift_z, disparity)
    front = z > _MIN_Z
    inverse = z.clamp(min=_MIN_Z).reciprocal()
    places = torch.stack(
        (
            torch.addcmul(x, shift_x, disparity) * inverse,
            torch.addcmul(y, shift_y, disparity) * inverse,
        ),
        dim=-1,
    )
    with torch.no_grad():
        inside = (places[..., 0].abs() <= 1) & (places[..., 1].abs() <= 1)
    return SamplingGrid(places=places, valid=inside & front)


def warp(
    sources: Float[Tensor, "batch views channels height width"],
    disparity: Float[Tensor, "batch _ height width"],
    intrinsics: Float[Tensor, "batch 3 3"],
    source_T_target: Float[Tensor, "batch views 4 4"],
) -> Warped:
    """Draw the target's view from the source images' colours.

    Args:
        sources: Images of the target's size and intrinsics.
        disparity: Of the target, in 1/unit; one for all views, or one for each.
        intrinsics: In pixels of `disparity`.
        source_T_target: Its translation in the same unit.
    """
    grid = sampling_grid(disparity, intrinsics, source_T_target)
    images = functional.grid_sample(
        sources.flatten(0, 1),
        grid.places.flatten(0, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return Warped(images=images.reshape(sources.shape), valid=grid.valid)


def invert_rigid(pose: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Return the inverse of rotations and translations: R^T and -R^T t."""
    back = pose[..., :3, :3].transpose(-1, -2)
    moved = -back @ pose[..., :3, 3:]
    return torch.cat((torch.cat((back, moved), dim=-1), pose[..., 3:, :]), dim=-2)


def _over_pixels(
    matrix: Float[Tensor, "batch 3 3"], height: int, width: int
) -> Float[Tensor, "batch 3 height width"]:
    """Return matrix @ (x, y, 1) for every pixel centre: an outer sum, not a product of large matrices."""
    x, y = pixel_centres(height, width, matrix)
    across = matrix[..., 0, None] * x + matrix[..., 2, None]
    down = matrix[..., 1, None] * y
    return across[..., None, :] + down[..., :, None]
