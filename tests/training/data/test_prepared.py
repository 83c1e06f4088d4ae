import numpy as np
import pytest

from model.images import resize_image
from tests.training.data.fabricated import Memory, kitti_raw, pattern, write_image
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.prepared import MemoryCache, PreparedDataset


def prepared(dataset, *, max_bytes=10**9, depth=True):
    return PreparedDataset(dataset, height=6, width=16, max_bytes=max_bytes, depth=depth)


def test_frames_are_resized_as_in_serving_and_intrinsics_with_them(tmp_path):
    kitti_raw(tmp_path)
    sample = prepared(KittiRaw(KittiRawConfig(root=tmp_path, depth="scan")))[1]
    assert np.array_equal(sample.image, resize_image(pattern(12), 6, 16))
    assert [view.image.shape for view in sample.sources] == [(6, 16, 3)] * 3
    assert sample.intrinsics.tolist() == [[10, 0, 8], [0, 10, 3], [0, 0, 1]]
    assert sample.depth_m[3, 8] == 8


def test_a_frame_that_several_samples_show_is_kept_once(tmp_path):
    kitti_raw(tmp_path, frames=4)
    dataset = prepared(KittiRaw(KittiRawConfig(root=tmp_path)))
    for index in range(4):
        dataset[index]
    assert dataset.used_bytes == 8 * 6 * 16 * 3


def test_kept_frames_are_not_read_again(tmp_path):
    drive = kitti_raw(tmp_path)
    dataset = prepared(KittiRaw(KittiRawConfig(root=tmp_path)))
    before = dataset[1]
    write_image(drive / "image_02" / "data" / "0000000001.png", pattern(99))
    assert np.array_equal(dataset[1].image, before.image)


def test_samples_without_files_are_kept_whole():
    memory = Memory(3)
    dataset = prepared(memory)
    assert [dataset[index].key for index in (0, 1, 0, 1)] == ["memory/0000", "memory/0001"] * 2
    assert memory.reads == [0, 1]


def test_the_memory_limit_holds_and_what_is_in_stays_in():
    memory = Memory(3)
    one = 3 * 6 * 16 * 3 + 6 * 16 * 4
    dataset = prepared(memory, max_bytes=one)
    for index in (0, 1, 2, 0, 1, 2):
        dataset[index]
    assert memory.reads == [0, 1, 2, 1, 2]
    assert dataset.used_bytes == one


def test_measured_depth_is_left_out_when_not_wanted_but_labels_stay(tmp_path):
    kitti_raw(tmp_path)
    assert prepared(KittiRaw(KittiRawConfig(root=tmp_path, depth="scan")), depth=False)[1].depth_m is None
    assert prepared(Memory(1), depth=False)[0].depth_m is not None


def test_views_of_another_size_are_refused(tmp_path):
    drive = kitti_raw(tmp_path)
    write_image(drive / "image_02" / "data" / "0000000002.png", pattern(1, 24, 64))
    with pytest.raises(ValueError, match=r"0000000001: a source view is \(24, 64\), but the target is"):
        prepared(KittiRaw(KittiRawConfig(root=tmp_path)))[1]


def test_the_target_alone_can_be_had(tmp_path):
    kitti_raw(tmp_path)
    dataset = prepared(KittiRaw(KittiRawConfig(root=tmp_path)))
    assert np.array_equal(dataset.target(1), resize_image(pattern(12), 6, 16))
    assert dataset.used_bytes == 6 * 16 * 3


def test_a_value_that_does_not_fit_is_still_returned():
    cache = MemoryCache(max_bytes=10)
    assert cache.get("large", lambda: b"x" * 11, len) == b"x" * 11
    assert cache.used_bytes == 0


@pytest.mark.parametrize("files", [True, False])
def test_other_views_are_not_read_where_they_are_not_wanted(tmp_path, files):
    kitti_raw(tmp_path)
    dataset = KittiRaw(KittiRawConfig(root=tmp_path)) if files else Memory(1)
    sample = PreparedDataset(dataset, height=6, width=16, max_bytes=10**9, views=False)[0]
    assert sample.sources == ()
    if files:
        alone = PreparedDataset(dataset, height=6, width=16, max_bytes=10**9, views=False)
        alone[0]
        assert alone.used_bytes == 6 * 16 * 3
