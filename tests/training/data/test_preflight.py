import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.training.street import Street
from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.augment import NO_AUGMENTATION
from training.data.loader import BatchLoader, LoaderConfig
from training.data.mixture import Mixture
from training.data.preflight import check_neighbours, check_shown


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


@cache
def drawn(frame, seed):
    return Street(height=96, width=160, seed=seed, bonnet=0).draw(frame)[0]


class Drive(WallWorld):
    """A drive through a drawn street, in which the frames from some number on show a street each."""

    def __init__(self, count, apart_from):
        super().__init__(count, poses=False)
        self._apart_from = apart_from

    @property
    def keys(self):
        return [f"drive {self._apart_from}/{index}" for index in range(self._count)]

    def _drawn(self, frame):
        return drawn(0, frame) if frame >= self._apart_from else drawn(frame, 0)

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        views = tuple(
            replace(view, image=self._drawn(index + direction))
            for view, direction in zip(sample.sources, (-1, 1), strict=True)
        )
        return replace(sample, image=self._drawn(index), sources=views, depth_m=None)


def test_frames_whose_neighbours_in_number_show_other_places_are_refused(caplog):
    check_neighbours(Mixture([Drive(5, 20), WallWorld(4)]), read=True)
    check_neighbours(Mixture([Drive(5, 4)]), read=True)
    assert re.search(r"1 of 5 frames .* such as drive 4/4, have nothing in common", caplog.text)
    places = Mixture([Drive(5, 20), Drive(5, 2)])
    with pytest.raises(ValueError, match=r"3 of 5 frames .* such as drive 2/2, .* expected .* offsets="):
        check_neighbours(places, read=True)
    check_neighbours(places, read=False)


def test_nothing_is_said_of_neighbours_whose_pose_is_known():
    class Posed(Drive):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            known = tuple(
                replace(view, source_T_target=np.eye(4, dtype=np.float32)) for view in sample.sources
            )
            return replace(sample, sources=known)

    check_neighbours(Mixture([Posed(5, 0)]), read=True)
