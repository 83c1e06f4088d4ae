import numpy as np
import pytest

from tests.assets import shared
from tests.training.data.fabricated import BASELINE_M, kitti_raw
from training.data.frames import FrameError
from training.data.kitti_calibration import intrinsics, read_calibration, read_raw_calibration


def test_lines_that_hold_no_numbers_are_left_out(tmp_path):
    (tmp_path / "c.txt").write_text("calib_time: 09-Jan-2012 13:57:47\nS: 1.0 2.0\n\nR: 3\n")
    values = read_calibration(tmp_path / "c.txt")
    assert {name: row.tolist() for name, row in values.items()} == {"S": [1.0, 2.0], "R": [3.0]}


def test_principal_points_move_by_half_a_pixel_to_our_convention(tmp_path):
    kitti_raw(tmp_path)
    calibration = read_raw_calibration(tmp_path / "2011_09_26")
    expected = [[20, 0, 16], [0, 20, 6], [0, 0, 1]]
    assert intrinsics(calibration.projections[2]).tolist() == expected


def test_the_right_camera_is_a_baseline_to_the_right(tmp_path):
    kitti_raw(tmp_path)
    calibration = read_raw_calibration(tmp_path / "2011_09_26")
    move = calibration.camera_T_camera(3, 2)
    assert np.allclose(move @ [1, 2, 3, 1], [1 - BASELINE_M, 2, 3, 1])
    assert np.allclose(calibration.camera_T_camera(2, 3) @ move, np.eye(4))


def test_a_point_ahead_of_the_scanner_is_ahead_of_the_camera(tmp_path):
    kitti_raw(tmp_path)
    move = read_raw_calibration(tmp_path / "2011_09_26").camera_T_velodyne(2)
    assert np.allclose(move @ [8, 1, 2, 1], [-1, -2, 8, 1])


def test_without_the_units_file_the_chain_to_it_is_unknown(tmp_path):
    kitti_raw(tmp_path)
    (tmp_path / "2011_09_26" / "calib_imu_to_velo.txt").unlink()
    assert read_raw_calibration(tmp_path / "2011_09_26").camera_T_imu(2) is None


def test_a_missing_line_is_named(tmp_path):
    kitti_raw(tmp_path)
    path = tmp_path / "2011_09_26" / "calib_cam_to_cam.txt"
    path.write_text(path.read_text().replace("P_rect_02", "P_rect_09"))
    with pytest.raises(FrameError, match="'P_rect_02' with 12 numbers"):
        read_raw_calibration(tmp_path / "2011_09_26")


def test_kittis_own_calibration_gives_its_published_baseline_and_mounting():
    calibration = read_raw_calibration(shared("data/kitti_raw/2011_09_26"))
    assert calibration.camera_T_camera(3, 2)[0, 3] == pytest.approx(-0.5327, abs=1e-3)
    camera_T_imu = calibration.camera_T_imu(2)
    assert camera_T_imu is not None
    # The unit sits behind the cameras and forward (its x) is the camera's z.
    assert camera_T_imu[:3, :3] @ [1, 0, 0] == pytest.approx([0, 0, 1], abs=0.02)
    assert camera_T_imu[2, 3] == pytest.approx(-1.1, abs=0.1)
