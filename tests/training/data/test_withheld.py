import numpy as np
import pytest

from tests.training.worlds import INTRINSICS, WIDTH, WallWorld, photograph, sideways
from training.data.sequence import Sample, View
from training.data.withheld import Withheld


class StereoWall(WallWorld):
    """The wall with a second camera."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        right = View(image=photograph(2.0), source_T_target=sideways(0.2), role="stereo")
        return Sample(
            key=sample.key,
            image=sample.image,
            intrinsics=sample.intrinsics,
            sources=(*sample.sources, right),
            depth_m=sample.depth_m,
            depth_is_label=True,
        )


def withheld(*facts):
    return Withheld(StereoWall(), facts)[0]


def test_nothing_else_changes():
    sample, known = withheld("labels"), StereoWall()[0]
    assert not sample.depth_is_label
    assert np.array_equal(sample.depth_m, known.depth_m)
    assert [view.role for view in sample.sources] == ["previous", "next", "stereo"]
    assert sample.intrinsics_known


def test_poses_through_time_are_withheld_and_the_stereo_cameras_place_is_not():
    poses = [view.source_T_target for view in withheld("poses").sources]
    assert poses[:2] == [None, None]
    assert poses[2] is not None


def test_the_other_camera_is_withheld():
    assert [view.role for view in withheld("stereo").sources] == ["previous", "next"]


def test_the_camera_is_guessed_at_60_degrees():
    sample = withheld("intrinsics")
    assert not sample.intrinsics_known
    assert sample.intrinsics[0, 0] == pytest.approx(WIDTH / 2 * 3**0.5)
    assert not np.allclose(sample.intrinsics, INTRINSICS)


def test_what_is_withheld_is_said():
    assert (
        Withheld(WallWorld(), ("poses", "labels")).describe() == "a wall: 8 frames, labels and poses withheld"
    )


def test_an_unknown_fact_is_refused_by_its_name():
    with pytest.raises(ValueError, match="withhold is weather"):
        Withheld(WallWorld(), ("weather",))
