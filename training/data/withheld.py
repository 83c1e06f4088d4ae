"""A data set that withholds some of what it knows, to train without it and compare with the truth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from training.data.layout import verify_all
from training.data.sequence import Sample, SequenceDataset, View

Fact = Literal["poses", "stereo", "intrinsics", "labels"]
FACTS: tuple[Fact, ...] = get_args(Fact)


class Withheld:
    """Samples without some of their facts.

    Args:
        dataset: Knows them.
        facts: `poses`: of all views through time. `stereo`: the other camera's views. `intrinsics`: a guess
            of 60 degrees' horizontal view replaces them, from which one camera is learned. `labels`: depth
            then only serves to watch.
    """

    def __init__(self, dataset: SequenceDataset, facts: Sequence[str]) -> None:
        if strange := [fact for fact in facts if fact not in FACTS]:
            raise ValueError(f"withhold is {', '.join(strange)}; expected some of {', '.join(FACTS)}")
        self._dataset = dataset
        self._facts = frozenset(facts)
        self._camera = dataset.keys[0].rpartition("/")[0] if len(dataset) else ""

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        if "stereo" in self._facts:
            kept = tuple(view for view in sample.sources if view.role != "stereo")
            sample = replace(sample, sources=kept)
        if "poses" in self._facts:
            sample = replace(sample, sources=tuple(_without_pose(view) for view in sample.sources))
        if "intrinsics" in self._facts:
            height, width = sample.image.shape[:2]
            focal = width / (2 * np.tan(np.deg2rad(30)))
            guess = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
            sample = replace(sample, intrinsics=guess, intrinsics_known=False, camera=self._camera)
        if "labels" in self._facts:
            sample = replace(sample, depth_is_label=False)
        return sample

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        return self._dataset.keys

    def verify(self) -> None:
        """Look at every file.

        Raises:
            LayoutError: With every problem found.
        """
        verify_all((self._dataset,))

    def describe(self) -> str:
        """Say in a line what the data set is, and what it withholds."""
        return f"{self._dataset.describe()}, {' and '.join(sorted(self._facts))} withheld"


def _without_pose(view: View) -> View:
    return view if view.role == "stereo" else replace(view, source_T_target=None)
