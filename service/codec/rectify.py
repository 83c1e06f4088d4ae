"""Pictures of a camera with distortion made straight, and their depth laid over the raw picture.

Both pictures have one size. The straight one shows only what the raw one shows, without black corners. It
does not know requests.
"""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from model.disparity import depth_to_disparity, disparity_to_depth
from service.codec.cameras import Camera
from service.codec.point_cloud import resized_intrinsics
from service.contract.request import Intrinsics

_CENTRE_PX = 0.5
_KEPT = 4
"""Maps kept, of the last cameras and sizes: 10 bytes a pixel each."""


def rectified_intrinsics(camera: Camera, height: int, width: int) -> Intrinsics:
    """Return the intrinsics of the straight picture of this size; centres at +0.5.

    Raises:
        InvalidArgument: The camera's pictures have another shape.
    """
    raw = _matrix(camera.intrinsics_of(height, width))
    size, bent = (width, height), np.array(camera.coefficients)
    if camera.distortion == "fisheye":
        new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(raw, bent, size, np.eye(3), balance=0.0)
    else:
        new, _ = cv2.getOptimalNewCameraMatrix(raw, bent, size, 0.0, size)
    return Intrinsics(
        fx_px=float(new[0, 0]),
        fy_px=float(new[1, 1]),
        cx_px=float(new[0, 2]) + _CENTRE_PX,
        cy_px=float(new[1, 2]) + _CENTRE_PX,
    )


def rectify_image(
    image: UInt8[np.ndarray, "rows columns 3"], camera: Camera, height: int, width: int
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return the straight picture.

    Args:
        image: The raw one, perhaps resized, to another shape even.
        camera: That took it.
        height: Of the picture as it was taken, in pixels.
        width: Likewise.
    """
    maps = _straight_from_raw(camera, height, width, *image.shape[:2])
    straight: UInt8[np.ndarray, "rows columns 3"] = cv2.remap(
        image, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return straight


def unrectify_depth(
    depth: Float32[np.ndarray, "rows columns"], camera: Camera, height: int, width: int
) -> Float32[np.ndarray, "rows columns"]:
    """Return depth at the pixels of the raw picture, NaN where the straight one does not reach.

    Depth stays what it is, along the optical axis; disparity is interpolated, as everywhere.
    """
    rows, columns = depth.shape
    maps = _raw_from_straight(camera, height, width, rows, columns)
    disparity = cv2.remap(
        depth_to_disparity(depth), *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    # Half a pixel beyond the last centres is still the picture.
    outside = (maps[0] < -_CENTRE_PX) | (maps[0] > columns - _CENTRE_PX)
    outside |= (maps[1] < -_CENTRE_PX) | (maps[1] > rows - _CENTRE_PX)
    disparity[outside] = np.nan
    raw: Float32[np.ndarray, "rows columns"] = disparity_to_depth(disparity)
    return raw


@lru_cache(maxsize=_KEPT)
def _straight_from_raw(
    camera: Camera, height: int, width: int, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where in the raw picture each straight pixel lies."""
    raw, new = _matrices(camera, height, width, rows, columns)
    bent, size = np.array(camera.coefficients), (columns, rows)
    if camera.distortion == "fisheye":
        maps = cv2.fisheye.initUndistortRectifyMap(raw, bent, np.eye(3), new, size, cv2.CV_16SC2)
    else:
        maps = cv2.initUndistortRectifyMap(raw, bent, np.eye(3), new, size, cv2.CV_16SC2)
    return maps[0], maps[1]


@lru_cache(maxsize=_KEPT)
def _raw_from_straight(
    camera: Camera, height: int, width: int, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where in the straight picture each raw pixel lies, as columns and rows."""
    across, down = np.meshgrid(np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64))
    points = np.stack([across, down], axis=-1).reshape(-1, 1, 2)
    raw, new = _matrices(camera, height, width, rows, columns)
    bent = np.array(camera.coefficients)
    if camera.distortion == "fisheye":
        straight = cv2.fisheye.undistortPoints(points, raw, bent, R=np.eye(3), P=new)
    else:
        straight = cv2.undistortPoints(points, raw, bent, R=np.eye(3), P=new)
    straight = straight.reshape(rows, columns, 2).astype(np.float32)
    return np.ascontiguousarray(straight[..., 0]), np.ascontiguousarray(straight[..., 1])


def _matrices(
    camera: Camera, height: int, width: int, rows: int, columns: int
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3 3"]]:
    """Return the raw and the straight picture's matrices, once both have this many rows and columns."""
    raw = resized_intrinsics(camera.intrinsics_of(height, width), columns / width, rows / height)
    new = resized_intrinsics(rectified_intrinsics(camera, height, width), columns / width, rows / height)
    return _matrix(raw), _matrix(new)


def _matrix(known: Intrinsics) -> Float64[np.ndarray, "3 3"]:
    return np.array(
        [
            [known.fx_px, 0, known.cx_px - _CENTRE_PX],
            [0, known.fy_px, known.cy_px - _CENTRE_PX],
            [0, 0, 1],
        ]
    )
