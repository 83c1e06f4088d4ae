"""Data sets of others, each by its published layout."""

import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import ahead
from tests.training.data.foreign import HEIGHT, WIDTH, dgp, nuscenes, tum, virtual_kitti
from training.data.layout import LayoutError
from training.data.sources import open_sources

NUSCENES_KIT = {(11, 16): 9.7000418, (9, 13): 19.4504166, (13, 23): 4.8248544}
"""Row, column and depth of the points that nuscenes-devkit 1.2.0 projects into the second frame of
`foreign.nuscenes` (`NuScenesExplorer.map_pointcloud_to_image`, its (u, v) rounded to the nearest pixel)."""


def test_nuscenes_gives_poses_lenses_and_the_depth_that_its_own_kit_projects(tmp_path):
    nuscenes(tmp_path)
    sample = open_sources([f"nuscenes:{tmp_path}?version=v1.0-mini&depth=yes"])[1]
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert sample.intrinsics.tolist() == [[30, 0, 20], [0, 30, 12], [0, 0, 1]]
    views = {view.role: view.source_T_target for view in sample.sources}
    assert np.allclose(views["next"], ahead(1), atol=1e-6)
    assert np.allclose(views["previous"], ahead(-1), atol=1e-6)
    rows, columns = np.nonzero(sample.depth_m)
    found = {
        (int(row), int(column)): float(sample.depth_m[row, column])
        for row, column in zip(rows, columns, strict=True)
    }
    assert found == pytest.approx(NUSCENES_KIT, rel=1e-5)
    assert not sample.depth_is_label


def test_ddad_gives_poses_lenses_and_depth(tmp_path):
    dgp(tmp_path)
    sample = open_sources([f"dgp:{tmp_path}?depth=yes"])[1]
    assert sample.key == "dgp/000000/CAMERA_01/1"
    assert sample.intrinsics.tolist() == [[30, 0, 20], [0, 30, 12], [0, 0, 1]]
    assert np.allclose({view.role: view.source_T_target for view in sample.sources}["next"], ahead(1))
    # x ahead is depth; y to the left and z up fall to the left of the middle, and above it.
    expected = {(12, 20): 10.0, (10, 17): 20.0, (15, 26): 5.0}
    assert {
        tuple(map(int, place)): float(sample.depth_m[tuple(place)]) for place in np.argwhere(sample.depth_m)
    } == (expected)


def test_tum_rgbd_pairs_colour_depth_and_pose_by_their_times(tmp_path):
    folder = tum(tmp_path)
    sample = open_sources([f"tum-rgbd:{folder}"])[1]
    assert sample.intrinsics[0].tolist() == pytest.approx([535.4, 0, 320.6])
    assert sample.depth_m[0, 0] == 0
    assert sample.depth_m[5, 5] == 2.0
    assert np.allclose({view.role: view.source_T_target for view in sample.sources}["next"], ahead(0.1))
    (folder / "groundtruth.txt").write_text("100.000000 0 0 0 0 0 0\n")
    with pytest.raises(LayoutError, match=r"groundtruth.txt: line 1.*expected a time and 7 columns"):
        open_sources([f"tum-rgbd:{folder}"])


def test_a_tum_folder_of_an_unknown_camera_asks_for_its_lens(tmp_path):
    folder = tum(tmp_path).rename(tmp_path / "mine")
    with pytest.raises(LayoutError, match="intrinsics_px=fx,fy,cx,cy"):
        open_sources([f"tum-rgbd:{folder}"])
    assert open_sources([f"tum-rgbd:{folder}?intrinsics_px=500,500,319.5,239.5"])[0].intrinsics[0, 2] == 320


def test_virtual_kitti_gives_exact_labels_without_the_sky(tmp_path):
    folder = virtual_kitti(tmp_path)
    sample = open_sources([f"virtual-kitti:{tmp_path}"])[1]
    assert sample.depth_is_label
    assert sample.depth_m[0].max() == 0
    assert sample.depth_m[1, 0] == pytest.approx(12.34)
    assert sample.intrinsics[0].tolist() == pytest.approx([725.0087, 0, 621])
    views = {view.role: view for view in sample.sources}
    assert np.allclose(views["next"].source_T_target, ahead(1))
    assert views["stereo"].source_T_target[:3, 3] == pytest.approx([-0.532725, 0, 0])
    right = cv2.imread(str(folder / "frames/rgb/Camera_1/rgb_00001.jpg"))
    assert np.array_equal(views["stereo"].image, right[..., ::-1])


@pytest.mark.parametrize(
    ("kind", "make"), [("nuscenes", nuscenes), ("dgp", dgp), ("virtual-kitti", virtual_kitti)]
)
def test_what_is_missing_is_named_before_training(kind, make, tmp_path):
    make(tmp_path)
    options = "?version=v1.0-mini" if kind == "nuscenes" else ""
    removed = next(tmp_path.rglob("*.jpg" if kind != "dgp" else "rgb/**/*.png"))
    removed.unlink()
    with pytest.raises(LayoutError, match=removed.name):
        open_sources([f"{kind}:{tmp_path}{options}"])
