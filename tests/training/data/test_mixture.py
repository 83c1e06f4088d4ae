import numpy as np
import pytest

from tests.training.data.fabricated import Memory, kitti_raw
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.layout import LayoutError
from training.data.mixture import Mixture
from training.data.withheld import Withheld


def test_a_mixture_gives_the_samples_of_its_parts_one_after_the_other():
    mixture = Mixture([Memory(2, name="a"), Memory(3, name="b")])
    assert len(mixture) == 5
    assert list(mixture.keys) == ["a/0000", "a/0001", "b/0000", "b/0001", "b/0002"]
    assert [mixture[index].key for index in range(5)] == list(mixture.keys)
    with pytest.raises(IndexError, match="sample 5 of a mixture of 5"):
        mixture[5]


def test_the_description_tells_shares():
    weighted = Mixture([Memory(2, name="a"), Memory(3, name="b")], [1, 3])
    assert weighted.describe() == "25% 2 samples in memory\n75% 3 samples in memory"
    assert Mixture([Memory(1, name="a"), Memory(3, name="b")]).describe().startswith("25% ")


def test_keys_that_come_twice_are_refused():
    with pytest.raises(ValueError, match="'a/0000' comes twice"):
        Mixture([Memory(2, name="a"), Memory(3, name="a")])


def test_moments_are_passed_on_where_there_are_files(tmp_path):
    kitti_raw(tmp_path)
    mixture = Mixture([Memory(2), KittiRaw(KittiRawConfig(root=tmp_path))])
    assert mixture.moment(1) is None
    moment = mixture.moment(3)
    assert moment is not None
    assert np.array_equal(moment.frame.read(), mixture[3].image)


def test_a_mixture_seems_labelled_where_any_part_has_depth_to_learn_from(tmp_path):
    kitti_raw(tmp_path)
    files = KittiRaw(KittiRawConfig(root=tmp_path))
    made = Memory(5)
    assert not Mixture([files]).seems_labelled()
    assert not Mixture([files, Withheld(made, ("labels",))]).seems_labelled()
    assert made.reads == [0, 2, 4]
    assert Mixture([files, made]).seems_labelled()


def test_verifying_looks_at_the_parts_that_have_files(tmp_path):
    drive = kitti_raw(tmp_path)
    mixture = Mixture([Memory(2), KittiRaw(KittiRawConfig(root=tmp_path))])
    mixture.verify()
    (drive / "image_02" / "data" / "0000000001.png").unlink()
    with pytest.raises(LayoutError, match=r"0000000001\.png: missing file"):
        mixture.verify()
