import numpy as np
import pytest
import torch

from tests.training.worlds import HEIGHT, INTRINSICS, WIDTH, WallWorld, sideways
from training.data.augment import Augmentation
from training.data.collate import collate, frame
from training.data.narrowed import Narrowed
from training.geometry import warp


class Ramp(WallWorld):
    """The wall, whose depth says in which column it is."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample.depth_m[:] = np.arange(WIDTH) + 1
        return sample


def left_of(sample):
    return int(sample.depth_m[0, 0]) - 1


def test_a_window_is_as_high_and_as_wide_as_the_aspect_says():
    sample = Narrowed(Ramp(), 1.0)[0]
    assert sample.image.shape == (HEIGHT, HEIGHT, 3)
    assert sample.depth_m.shape == (HEIGHT, HEIGHT)
    assert {view.image.shape for view in sample.sources} == {(HEIGHT, HEIGHT, 3)}


def test_image_views_depth_and_intrinsics_show_the_same_window():
    whole, sample = Ramp()[3], Narrowed(Ramp(), 1.0)[3]
    left = left_of(sample)
    window = slice(left, left + HEIGHT)
    assert np.array_equal(sample.image, whole.image[:, window])
    assert np.array_equal(sample.sources[1].image, whole.sources[1].image[:, window])
    assert sample.intrinsics[0].tolist() == [INTRINSICS[0, 0], 0, INTRINSICS[0, 2] - left]
    assert np.array_equal(sample.intrinsics[1:], INTRINSICS[1:])


def test_views_still_explain_the_window():
    sample = Narrowed(WallWorld(), 1.0)[0]
    batch = collate([frame(sample, Augmentation(), height=HEIGHT, width=HEIGHT)])
    disparity = torch.full((1, 1, HEIGHT, HEIGHT), 1 / 6.0)
    warped = warp(batch.sources, disparity, batch.intrinsics, batch.source_T_target)
    inside = warped.valid[0, 0]
    assert (warped.images[0, 0] - batch.image[0]).abs()[:, inside].max() < 0.02
    assert batch.source_T_target[0, 1].numpy() == pytest.approx(sideways(0.4))


def test_windows_lie_elsewhere_from_frame_to_frame_and_always_the_same_for_one():
    first, second = Narrowed(Ramp(40), 0.5), Narrowed(Ramp(40), 0.5)
    places = [left_of(first[index]) for index in range(40)]
    assert places == [left_of(second[index]) for index in range(40)]
    assert len(set(places)) > 20
    assert min(places) < 10
    assert max(places) > WIDTH - HEIGHT // 2 - 10


def test_what_is_narrow_already_is_left_as_it_is():
    assert np.array_equal(Narrowed(Ramp(), 4.0)[0].image, Ramp()[0].image)


def test_keys_are_not_those_of_the_whole_frames():
    narrowed = Narrowed(WallWorld(2), 1.33)
    assert narrowed.keys == ["wall/0-narrowed-1.33", "wall/1-narrowed-1.33"]
    assert narrowed[1].key == narrowed.keys[1]


def test_what_is_narrowed_is_said():
    assert Narrowed(WallWorld(), 1.33).describe() == "a wall: 8 frames, narrowed to 1.33:1"
