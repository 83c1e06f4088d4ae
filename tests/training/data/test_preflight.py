from dataclasses import replace

import numpy as np
import pytest

from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.augment import NO_AUGMENTATION
from training.data.loader import BatchLoader, LoaderConfig
from training.data.preflight import check_shown


class Black(WallWorld):
    """The wall at night, without a lamp."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return replace(sample, image=np.zeros_like(sample.image))


def loader(world):
    config = LoaderConfig(height=HEIGHT, width=WIDTH, batch_size=2, augment=NO_AUGMENTATION, threads=1)
    return BatchLoader(world, config, seed=0)


def test_frames_of_one_colour_are_refused_whatever_the_data():
    check_shown(loader(WallWorld(4)))
    with pytest.raises(
        ValueError, match=r"all 4 frames that were looked at, such as wall/\d, are of one colour"
    ):
        check_shown(loader(Black(4)))
