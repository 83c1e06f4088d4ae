import numpy as np
import pytest

from tests.assets import shared
from tests.training.data.fabricated import (
    BASELINE_M,
    ahead,
    halve_images,
    kitti_odometry,
    pattern,
    write_image,
    write_text,
)
from tests.training.data.photometry import photometric_errors
from training.data.kitti_odometry import KittiOdometry, KittiOdometryConfig
from training.data.layout import LayoutError


def test_a_colour_sequence_gives_time_stereo_poses_and_depth(tmp_path):
    kitti_odometry(tmp_path)
    dataset = KittiOdometry(KittiOdometryConfig(root=tmp_path, depth=True))
    sample = dataset[1]
    assert sample.key == "odometry/04/image_2/000001"
    assert np.array_equal(sample.image, pattern(12))
    views = {view.role: view for view in sample.sources}
    assert np.allclose(views["next"].source_T_target, ahead(2))
    assert np.allclose(views["previous"].source_T_target, ahead(-2))
    assert views["stereo"].source_T_target[:3, 3].tolist() == [-BASELINE_M, 0, 0]
    assert sample.depth_m[3, 4] == 7
    assert sample.intrinsics[0, 2] == 16


def test_a_grey_sequence_becomes_three_channels_without_stereo(tmp_path):
    kitti_odometry(tmp_path, sequence="06", grey=True)
    dataset = KittiOdometry(KittiOdometryConfig(root=tmp_path))
    sample = dataset[1]
    assert sample.key == "odometry/06/image_0/000001"
    assert np.array_equal(sample.image[..., 0], sample.image[..., 2])
    assert [view.role for view in sample.sources] == ["previous", "next"]


def test_all_sequences_are_read_unless_some_are_named(tmp_path):
    kitti_odometry(tmp_path, sequence="04")
    kitti_odometry(tmp_path, sequence="06", grey=True)
    assert len(KittiOdometry(KittiOdometryConfig(root=tmp_path))) == 6
    assert len(KittiOdometry(KittiOdometryConfig(root=tmp_path, sequences=("06",)))) == 3


def test_a_sequence_without_poses_asks_the_pose_network(tmp_path):
    kitti_odometry(tmp_path, sequence="11", grey=True)
    (tmp_path / "poses" / "11.txt").unlink()
    sample = KittiOdometry(KittiOdometryConfig(root=tmp_path))[1]
    assert [view.source_T_target for view in sample.sources] == [None, None]


def test_what_is_missing_is_told_with_the_expected_layout(tmp_path):
    folder = kitti_odometry(tmp_path)
    (folder / "calib.txt").unlink()
    with pytest.raises(LayoutError) as caught:
        KittiOdometry(KittiOdometryConfig(root=tmp_path, sequences=("04", "09")))
    message = str(caught.value)
    assert "04/calib.txt: missing file" in message
    assert "09: missing folder" in message
    assert "<root>/poses/<two digits>.txt" in message


def test_a_poses_file_of_another_form_is_told(tmp_path):
    kitti_odometry(tmp_path)
    write_text(tmp_path / "poses" / "04.txt", "1 2 3\n4 5 6\n")
    with pytest.raises(LayoutError, match=r"04\.txt: expected 12 numbers on each line, not 3"):
        KittiOdometry(KittiOdometryConfig(root=tmp_path))


def test_real_poses_and_stereo_explain_real_frames():
    root = shared("data/kitti_odometry")
    dataset = KittiOdometry(KittiOdometryConfig(root=root, sequences=("04",), depth=True))
    errors = [photometric_errors(dataset[index]) for index in (5, 25, 45)]
    for role, share in {"previous": 0.6, "next": 0.6, "stereo": 0.45}.items():
        warped, still = np.mean([error[role] for error in errors], axis=0)
        assert warped < share * still, role


def test_frames_whose_middle_is_not_that_of_the_calibration_are_refused(tmp_path):
    halve_images(kitti_odometry(tmp_path))
    with pytest.raises(LayoutError, match=r"is 16x6 pixels, but the principal point .* is \(16\.0, 6\.0\)"):
        KittiOdometry(KittiOdometryConfig(root=tmp_path)).verify()


def published(root, height, width):
    """A sequence with the published calibration of 1241 x 376 pixels, and frames of any size."""
    folder = kitti_odometry(root)
    matrix = "718.856 0 607.1928 {} 0 718.856 185.2157 0 0 0 1 0"
    write_text(folder / "calib.txt", f"P2: {matrix.format(0)}\nP3: {matrix.format(-386.1448)}\n")
    for path in folder.rglob("image_*/*.png"):
        write_image(path, pattern(1, height, width))


def test_the_published_sizes_are_known_by_the_focal_length(tmp_path):
    published(tmp_path, 192, 640)
    with pytest.raises(LayoutError, match="is 640x192 pixels, but its calibration is of 1241x376"):
        KittiOdometry(KittiOdometryConfig(root=tmp_path)).verify()
    dataset = KittiOdometry(KittiOdometryConfig(root=tmp_path, resized=True))
    dataset.verify()
    assert dataset[0].intrinsics[0, 0] == pytest.approx(718.856 * 640 / 1241)
    assert dataset[0].intrinsics[1, 2] == pytest.approx(185.7157 * 192 / 376)
    stereo = next(view for view in dataset[0].sources if view.role == "stereo")
    assert stereo.source_T_target[0, 3] == pytest.approx(-386.1448 / 718.856)


def test_a_resized_sequence_of_unknown_calibration_cannot_be_scaled(tmp_path):
    kitti_odometry(tmp_path)
    with pytest.raises(LayoutError, match="no size stands in its calibration"):
        KittiOdometry(KittiOdometryConfig(root=tmp_path, resized=True))
