"""Take the distortion of a calibrated lens out: OpenCV's and Kalibr's files, fisheye lenses too."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from jaxtyping import Float32, Float64, UInt8

from training.data.layout import read_text

_MODELS: dict[str, Literal["ordinary", "fisheye"]] = {
    "plumb_bob": "ordinary",
    "rational_polynomial": "ordinary",
    "radtan": "ordinary",
    "none": "ordinary",
    "equidistant": "fisheye",
    "fisheye": "fisheye",
}
"""Distortion models by the names that ROS (the first two, and equidistant) and Kalibr have for them."""
_EXPECTED = (
    "expected OpenCV's camera_matrix, distortion_coefficients, image_width and image_height, or Kalibr's "
    "camera with intrinsics, distortion_model, distortion_coeffs and resolution"
)


class LensError(Exception):
    """A calibration that cannot be used; the message says why, and does not name the file."""


Image = UInt8[np.ndarray, "height width 3"]
Map = Float32[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A calibrated camera: pixels count from 0 at a pixel's centre, as in the files."""

    height: int
    """Of the images that it was calibrated by."""
    width: int
    focal_px: tuple[float, float]
    principal_px: tuple[float, float]
    coefficients: tuple[float, ...]
    kind: Literal["ordinary", "fisheye"]

    def undistorted(self, image: Image) -> Image:
        """Return what a lens without distortion would have shown, as far as the frame fills it."""
        _, across, down = _maps(self, *image.shape[:2])
        straight: Image = cv2.remap(image, across, down, cv2.INTER_LINEAR)
        return straight

    def intrinsics(self, height: int, width: int) -> Float32[np.ndarray, "3 3"]:
        """Return those of undistorted images of this size, with pixel centres at +0.5."""
        matrix = _maps(self, height, width)[0].astype(np.float32)
        matrix[:2, 2] += np.float32(0.5)
        return matrix


def read_lens(path: Path, camera: str = "") -> Lens:
    """Read a calibration.

    Args:
        path: A YAML file of OpenCV (or ROS), or a camera chain of Kalibr.
        camera: Which of a chain's, as in ``cam1``; none: there is only one.

    Raises:
        LensError: The file holds no calibration that can be used.
    """
    lines = [line for line in read_text(path).splitlines() if not line.startswith("%")]
    try:
        found = yaml.load("\n".join(lines), _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise LensError(f"is no YAML ({error})") from error
    if not isinstance(found, dict):
        raise LensError(_EXPECTED)
    try:
        return _opencv(found) if "camera_matrix" in found else _kalibr(_chosen(found, camera))
    except (KeyError, TypeError, ValueError) as error:
        raise LensError(f"{_EXPECTED} ({error!r})") from error


class _Loader(yaml.SafeLoader):
    """Reads OpenCV's matrices, which have a tag of their own, as the mappings that they are."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _mapping)


def _opencv(found: dict[str, Any]) -> Lens:
    matrix = np.array(found["camera_matrix"]["data"], np.float64).reshape(3, 3)
    fisheye = bool(found.get("fisheye_model")) or _kind(found.get("distortion_model", "none")) == "fisheye"
    return Lens(
        height=int(found["image_height"]),
        width=int(found["image_width"]),
        focal_px=(float(matrix[0, 0]), float(matrix[1, 1])),
        principal_px=(float(matrix[0, 2]), float(matrix[1, 2])),
        coefficients=_coefficients(found["distortion_coefficients"]["data"], fisheye=fisheye),
        kind="fisheye" if fisheye else "ordinary",
    )


def _chosen(found: dict[str, Any], camera: str) -> dict[str, Any]:
    cameras = {name: one for name, one in found.items() if isinstance(one, dict) and "intrinsics" in one}
    if camera in cameras:
        return dict(cameras[camera])
    if camera or len(cameras) != 1:
        asked = f"{camera!r} is none of its cameras" if camera else "names no single camera"
        expected = ", ".join(cameras) or "none that can be read"
        raise LensError(f"{asked}; expected calibration_camera to be one of {expected}. {_EXPECTED}")
    return dict(next(iter(cameras.values())))


def _kalibr(found: dict[str, Any]) -> Lens:
    if found.get("camera_model", "pinhole") != "pinhole":
        raise ValueError(f"camera_model is {found['camera_model']!r}; expected 'pinhole'")
    focal_x, focal_y, centre_x, centre_y = (float(value) for value in found["intrinsics"])
    width, height = (int(value) for value in found["resolution"])
    kind = _kind(found["distortion_model"])
    return Lens(
        height=height,
        width=width,
        focal_px=(focal_x, focal_y),
        principal_px=(centre_x, centre_y),
        coefficients=_coefficients(found["distortion_coeffs"], fisheye=kind == "fisheye"),
        kind=kind,
    )


def _kind(name: str) -> Literal["ordinary", "fisheye"]:
    if name not in _MODELS:
        raise ValueError(f"distortion_model is {name!r}; expected one of {', '.join(_MODELS)}")
    return _MODELS[name]


def _coefficients(values: Any, *, fisheye: bool) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in np.ravel(values))
    expected = (4,) if fisheye else (0, 4, 5, 8, 12, 14)
    if len(numbers) not in expected:
        raise ValueError(
            f"{len(numbers)} distortion coefficients; expected {' or '.join(map(str, expected))}"
        )
    return numbers


@lru_cache(maxsize=8)
def _maps(lens: Lens, height: int, width: int) -> tuple[Float64[np.ndarray, "3 3"], Map, Map]:
    """Return the intrinsics of undistorted images of a size, and where each of their pixels comes from."""
    x, y = width / lens.width, height / lens.height
    matrix = np.array(
        [
            [lens.focal_px[0] * x, 0, (lens.principal_px[0] + 0.5) * x - 0.5],
            [0, lens.focal_px[1] * y, (lens.principal_px[1] + 0.5) * y - 0.5],
            [0, 0, 1],
        ]
    )
    size = (width, height)
    if lens.kind == "fisheye":
        bent = np.array(lens.coefficients)
        straight = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            matrix, bent, size, np.eye(3), balance=0
        )
        across, down = cv2.fisheye.initUndistortRectifyMap(
            matrix, bent, np.eye(3), straight, size, cv2.CV_32FC1
        )
    else:
        bent = np.array(lens.coefficients or (0.0,) * 4)
        straight, _ = cv2.getOptimalNewCameraMatrix(matrix, bent, size, 0)
        across, down = cv2.initUndistortRectifyMap(matrix, bent, np.eye(3), straight, size, cv2.CV_32FC1)
    return straight, across, down
