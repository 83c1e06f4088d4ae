import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import kitti_odometry
from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.hinted import Hinted, HintPng, hint_path
from training.data.kitti_odometry import KittiOdometry, KittiOdometryConfig
from training.data.layout import LayoutError
from training.data.prepared import PreparedDataset


@pytest.fixture
def plain(tmp_path):
    kitti_odometry(tmp_path / "kitti", frames=5)
    return KittiOdometry(KittiOdometryConfig(root=tmp_path / "kitti", sequences=("04",)))


def write_hint(folder, key, depth_m, *, height=12, width=32):
    path = hint_path(folder, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width), depth_m * 256, np.uint16))


def test_a_hint_is_a_label_and_other_frames_stay_as_they_are(plain, tmp_path):
    write_hint(tmp_path / "hints", plain.keys[1], 7.5)
    hinted = Hinted(plain, tmp_path / "hints")
    assert hinted[1].depth_is_label
    assert (hinted[1].depth_m == 7.5).all()
    assert not hinted[0].depth_is_label
    assert hinted.keys == plain.keys
    assert hinted.describe().endswith("1 with hints")


def test_samples_that_are_prepared_from_files_have_it_even_where_no_depth_is_wanted(plain, tmp_path):
    write_hint(tmp_path / "hints", plain.keys[1], 7.5, height=6, width=16)
    prepared = PreparedDataset(
        Hinted(plain, tmp_path / "hints"), height=6, width=16, max_bytes=10**6, depth=False
    )
    assert prepared[1].depth_is_label
    assert (prepared[1].depth_m == 7.5).all()
    assert prepared[0].depth_m is None


def test_a_hint_of_another_size_is_brought_to_the_images(tmp_path):
    path = tmp_path / "hint.png"
    cv2.imwrite(str(path), np.full((6, 16), 5 * 256, np.uint16))
    depth_m = HintPng(path=path).read(12, 32)
    assert depth_m.shape == (12, 32)
    assert set(np.unique(depth_m)) <= {0.0, 5.0}
    assert depth_m.any()


def test_a_folder_without_hints_is_reported_before_training(plain, tmp_path):
    with pytest.raises(LayoutError, match="has no hint for any frame"):
        Hinted(plain, tmp_path / "nothing").verify()
    write_hint(tmp_path / "hints", plain.keys[0], 5)
    Hinted(plain, tmp_path / "hints").verify()


def test_data_that_is_not_made_of_files_can_have_hints_too(tmp_path):
    write_hint(tmp_path, "wall/3", 4, height=HEIGHT, width=WIDTH)
    hinted = Hinted(WallWorld(), tmp_path)
    assert (hinted[3].depth_m == 4).all()
    assert hinted[3].depth_is_label
    assert hinted.moment(3) is None
