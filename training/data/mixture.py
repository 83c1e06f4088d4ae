"""Several data sets as one, each sample once an epoch or each set with a share of its own.

It does not know what the sets are made of.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain

from training.data.frames import Moment
from training.data.layout import verify_all
from training.data.order import SampleOrder
from training.data.prepared import HasMoments
from training.data.sequence import Sample, SequenceDataset


class Mixture:
    """Data sets one after the other.

    Args:
        datasets: At least one.
        weights: The share of training samples that comes from each; None: every sample once an epoch.
    """

    def __init__(self, datasets: Sequence[SequenceDataset], weights: Sequence[float] | None = None) -> None:
        if not datasets:
            raise ValueError("a mixture of no data sets; expected at least one")
        if weights is not None and (len(weights) != len(datasets) or min(weights) <= 0):
            raise ValueError(f"weights are {list(weights)}; expected {len(datasets)} positive numbers")
        self._datasets = tuple(datasets)
        self._weights = None if weights is None else tuple(weights)
        self._ends = list(accumulate(len(dataset) for dataset in datasets))
        self._keys = tuple(chain.from_iterable(dataset.keys for dataset in datasets))
        if len(set(self._keys)) != len(self._keys):
            seen: set[str] = set()
            twice = next(key for key in self._keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ValueError(f"the key {twice!r} comes twice; expected different data sets")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        dataset, inner = self._locate(index)
        return dataset[inner]

    def moment(self, index: int) -> Moment | None:
        """Return a sample's description, where its data set has files."""
        dataset, inner = self._locate(index)
        return dataset.moment(inner) if isinstance(dataset, HasMoments) else None

    def seems_labelled(self) -> bool:
        """Return whether any sample that is looked at has depth to learn from.

        Of data sets with files that is each; of others, whose samples have to be made, three.
        """
        return any(_seems_labelled(dataset) for dataset in self._datasets)

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        return self._keys

    def order(self, seed: int) -> SampleOrder:
        """Return the order in which training meets the samples."""
        return SampleOrder([len(dataset) for dataset in self._datasets], self._weights, seed)

    def describe(self) -> str:
        """Say in a line each what the data sets are, and their shares."""
        weights = [len(dataset) for dataset in self._datasets] if self._weights is None else self._weights
        shares = [weight / sum(weights) for weight in weights]
        lines = (
            f"{share:.0%} {dataset.describe()}" for share, dataset in zip(shares, self._datasets, strict=True)
        )
        return "\n".join(lines)

    def verify(self) -> None:
        """Look at every file of every data set.

        Raises:
            LayoutError: With the problems of all data sets.
        """
        verify_all(self._datasets)

    def _locate(self, index: int) -> tuple[SequenceDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a mixture of {len(self)}")
        part = bisect_right(self._ends, index)
        return self._datasets[part], index - (self._ends[part - 1] if part else 0)


def _seems_labelled(dataset: SequenceDataset) -> bool:
    if isinstance(dataset, HasMoments) and dataset.moment(0) is not None:
        moments = map(dataset.moment, range(len(dataset)))
        return any(moment is not None and moment.depth_is_label for moment in moments)
    last = len(dataset) - 1
    return any(dataset[index].depth_is_label for index in sorted({0, last // 2, last}))
