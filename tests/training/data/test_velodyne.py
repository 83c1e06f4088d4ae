import numpy as np
import pytest

from tests.assets import shared
from tests.training.data.fabricated import HEIGHT, VELODYNE_TO_CAMERA, WIDTH, projection
from training.data.frames import DepthPng, FrameError
from training.data.kitti_calibration import read_raw_calibration
from training.data.velodyne import project_scan, read_scan

PIXEL_T_VELODYNE = projection()[:, :3] @ np.c_[VELODYNE_TO_CAMERA, np.zeros(3)]


def project(*points, **options):
    scan = np.array([[*point, 0.5] for point in points], np.float32)
    return project_scan(scan, PIXEL_T_VELODYNE, HEIGHT, WIDTH, **options)


def test_a_return_falls_into_the_pixel_that_sees_it():
    # u = 15.5 - 20 * 1.1 / 10 = 13.3, v = 5.5 - 20 * 0.4 / 10 = 4.7
    depth_m = project((10, 1.1, 0.4))
    assert depth_m[5, 13] == 10
    assert np.count_nonzero(depth_m) == 1


def test_the_nearest_of_two_returns_in_a_pixel_is_kept():
    assert project((20, 2.2, 0.8), (10, 1.1, 0.4), (30, 3.3, 1.2))[5, 13] == 10


def test_returns_behind_the_scanner_or_beside_the_image_are_left_out():
    assert not project((-10, 1.1, 0.4), (10, 50, 0), (10, 0, 50)).any()


def test_the_published_tables_put_returns_a_pixel_up_and_left_and_measure_along_the_scanner():
    assert project((10, 1.1, 0.4), pixels="eigen", axis="scanner")[4, 12] == 10


def test_a_scan_of_a_broken_length_is_refused(tmp_path):
    (tmp_path / "s.bin").write_bytes(b"12345")
    with pytest.raises(FrameError, match="multiple of 16 bytes"):
        read_scan(tmp_path / "s.bin")


def test_a_real_scan_gives_the_depth_that_was_projected_independently():
    day = shared("data/kitti_raw/2011_09_26")
    given = shared("data/kitti_depth/2011_09_26_drive_0013_sync/proj_depth/velodyne_raw/image_02")
    calibration = read_raw_calibration(day)
    pixel_T_velodyne = calibration.projections[2] @ calibration.reference_T_velodyne
    scan = read_scan(day / "2011_09_26_drive_0013_sync/velodyne_points/data/0000000001.bin")
    depth_m = project_scan(scan, pixel_T_velodyne, 375, 1242, pixels="eigen")
    expected_m = DepthPng(path=given / "0000000001.png").read(375, 1242)
    assert np.array_equal(depth_m > 0, expected_m > 0)
    assert np.abs(depth_m - expected_m).max() <= 1 / 256
