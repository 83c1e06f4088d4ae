"""A data set of which every so many-th sample is taken; its views stay the frames beside it."""

from collections.abc import Sequence

from training.data.frames import Moment
from training.data.layout import verify_all
from training.data.prepared import HasMoments
from training.data.sequence import Sample, SequenceDataset


class Thinned:
    """Every so many-th sample, from the first on.

    Args:
        dataset: Any.
        every: At least 1.
    """

    def __init__(self, dataset: SequenceDataset, every: int) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; expected at least 1")
        self._dataset = dataset
        self._every = every

    def __len__(self) -> int:
        return -(-len(self._dataset) // self._every)

    def __getitem__(self, index: int) -> Sample:
        return self._dataset[index * self._every]

    def moment(self, index: int) -> Moment | None:
        """Return a sample's description, where its data set has files."""
        return self._dataset.moment(index * self._every) if isinstance(self._dataset, HasMoments) else None

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        return self._dataset.keys[:: self._every]

    def verify(self) -> None:
        """Look at every file.

        Raises:
            LayoutError: With every problem found.
        """
        verify_all((self._dataset,))

    def describe(self) -> str:
        """Say in a line what the data set is, and how much of it is taken."""
        return f"{self._dataset.describe()}, taking 1 sample of {self._every}: {len(self)}"
