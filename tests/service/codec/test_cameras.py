"""Named cameras, from calibrations as others write them, and their distortion."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.codec.cameras import Camera, CamerasError, read_cameras
from service.codec.rectify import rectified_intrinsics, rectify_image, unrectify_depth
from service.contract.errors import InvalidArgument
from service.contract.request import Intrinsics

OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320.5, 0., 510., 240.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.3, 0.1, 0., 0., 0. ]
"""
ROS = """
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320.5, 0, 510, 240.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""
KALIBR = """
cam0:
  camera_model: pinhole
  intrinsics: [500, 510, 320.5, 240.5]
  distortion_model: radtan
  distortion_coeffs: [-0.3, 0.1, 0, 0]
  resolution: [640, 480]
cam1:
  camera_model: pinhole
  intrinsics: [300, 300, 320, 240]
  distortion_model: equidistant
  distortion_coeffs: [0.01, 0.02, 0, 0]
  resolution: [640, 480]
"""
LENS = Intrinsics(fx_px=500, fy_px=510, cx_px=321, cy_px=241)


def written(folder: Path, text: str, name: str = "cameras.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "name", "count"), [(OPENCV, "cameras", 5), (ROS, "front", 5), (KALIBR, "cam0", 4)]
)
def test_each_calibration_by_itself_is_a_file_of_cameras(
    tmp_path: Path, text: str, name: str, count: int
) -> None:
    camera = read_cameras(written(tmp_path, text))[name]
    assert camera.intrinsics == LENS  # calibrations count pixels from 0, and this service from 0.5
    assert (camera.width, camera.height, camera.distortion) == (640, 480, "radial")
    assert camera.coefficients == (-0.3, 0.1, 0.0, 0.0, 0.0)[:count]


def test_names_lead_to_calibrations_in_place_and_in_files_of_their_own(tmp_path: Path) -> None:
    written(tmp_path, OPENCV, "left.yml")
    written(tmp_path, KALIBR, "chain.yaml")
    cameras = read_cameras(
        written(
            tmp_path,
            "front: {file: left.yml, height_m: 1.65}\n"
            "rear: {file: chain.yaml, camera: cam1}\n"
            "side:\n  image_width: 640\n  image_height: 480\n  height_m: 0.5\n"
            "  camera_matrix: [[500, 0, 320.5], [0, 510, 240.5], [0, 0, 1]]\n",
        )
    )
    assert list(cameras) == ["front", "rear", "side"]
    assert (cameras["front"].intrinsics, cameras["front"].height_m) == (LENS, 1.65)
    assert (cameras["rear"].distortion, cameras["rear"].height_m) == ("fisheye", None)
    assert (cameras["side"].distorts, cameras["side"].height_m) == (False, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("front: 3", "front is '3'; expected a camera's calibration"),
        ("- 3", "holds list"),
        ("a: [", "cannot be read"),
        ("front: {file: none.yaml}", r"none\.yaml cannot be read"),
        (ROS.replace("plumb_bob", "magic"), "its distortion model is 'magic'"),
        (ROS.replace("image_width: 640", ""), "lacks 'image_width'"),
        (ROS.replace("[-0.3, 0.1, 0, 0, 0]", "[-0.3]"), "it has 1 distortion coefficients"),
        (ROS.replace("[500,", "[0,"), "fx_px is 0"),
        (KALIBR.replace("pinhole", "omni", 1), "camera_model is 'omni'"),
        ("front: {height_m: -1, camera_matrix: [1, 0, 1, 0, 1, 1, 0, 0, 1], image_width: 2, "
         "image_height: 2}", "height_m is -1"),
        ("x: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CamerasError, match=says):
        read_cameras(written(tmp_path, text))


def test_a_picture_of_another_shape_is_none_of_the_camera_s(tmp_path: Path) -> None:
    camera = read_cameras(written(tmp_path, ROS))["front"]
    assert camera.intrinsics_of(240, 320).fx_px == 250
    with pytest.raises(InvalidArgument, match="640x400 pixels, and camera 'front' is calibrated for 640x480"):
        camera.intrinsics_of(400, 640)


def bent(kind: str) -> Camera:
    coefficients = (-0.3, 0.1, 0.001, -0.002, 0.0) if kind == "radial" else (0.02, 0.01, 0.0, 0.0)
    return Camera(
        name="front",
        width=320,
        height=240,
        intrinsics=Intrinsics(fx_px=200, fy_px=200, cx_px=162, cy_px=118),
        distortion="radial" if kind == "radial" else "fisheye",
        coefficients=coefficients,
    )


@pytest.mark.parametrize("kind", ["radial", "fisheye"])
def test_a_point_that_is_seen_in_the_raw_picture_lies_where_the_straight_lens_has_it(kind: str) -> None:
    camera = bent(kind)
    new = rectified_intrinsics(camera, 240, 320)
    point = np.array([[[0.3, -0.2, 1.0]]])
    raw = np.array([[200, 0, 161.5], [0, 200, 117.5], [0, 0, 1.0]])
    project = cv2.projectPoints if kind == "radial" else cv2.fisheye.projectPoints
    seen = project(point, np.zeros(3), np.zeros(3), raw, np.array(camera.coefficients))[0].ravel()
    picture = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(picture, tuple(round(float(each)) for each in seen), 4, (255, 255, 255), -1)
    straight = rectify_image(picture, camera, 240, 320)[..., 0]
    row, column = (float(np.average(axis, weights=straight)) for axis in np.indices(straight.shape))
    assert column + 0.5 == pytest.approx(0.3 * new.fx_px + new.cx_px, abs=0.8)
    assert row + 0.5 == pytest.approx(-0.2 * new.fy_px + new.cy_px, abs=0.8)


@pytest.mark.parametrize("kind", ["radial", "fisheye"])
def test_a_picture_at_the_network_s_size_is_made_straight_alike(kind: str) -> None:
    camera = bent(kind)
    rows, columns = np.mgrid[:240, :320]
    picture = np.stack([rows, columns * 0.7, rows * 0 + 90], axis=-1).astype(np.uint8)
    whole = cv2.resize(rectify_image(picture, camera, 240, 320), (96, 64), interpolation=cv2.INTER_AREA)
    small = cv2.resize(picture, (96, 64), interpolation=cv2.INTER_AREA)
    other = rectify_image(small, camera, 240, 320)
    assert np.abs(whole.astype(int) - other)[2:-2, 2:-2].max() <= 3


@pytest.mark.parametrize("kind", ["radial", "fisheye"])
def test_depth_laid_over_the_raw_picture_is_the_straight_one_s_there_and_nowhere_else(kind: str) -> None:
    camera = bent(kind)
    new = rectified_intrinsics(camera, 240, 320)
    # A slanted wall: disparity is linear over the straight picture.
    columns = (np.arange(320) + 0.5 - new.cx_px) / new.fx_px
    straight = np.repeat((1 / (0.1 + 0.05 * columns))[None], 240, axis=0).astype(np.float32)
    raw = unrectify_depth(straight, camera, 240, 320)
    points = np.array([[[200.0, 90.0]]])
    matrix = np.array([[200, 0, 161.5], [0, 200, 117.5], [0, 0, 1.0]])
    undistort = cv2.undistortPoints if kind == "radial" else cv2.fisheye.undistortPoints
    x = undistort(points, matrix, np.array(camera.coefficients))[0, 0, 0]
    assert raw[90, 200] == pytest.approx(1 / (0.1 + 0.05 * x), rel=1e-3)
    assert np.isnan(raw[0, 0])
    assert np.isfinite(raw).mean() > 0.5
