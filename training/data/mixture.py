"""Several data sets as one, each sample once an epoch or each set with a share of its own."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain

from model.metadata import LearnedCamera
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
            raise ValueError(
                f"the key {twice!r} comes twice; expected different data sets, or name= where two "
                "videos have one name"
            )

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

    def seems_measured(self) -> bool:
        """Return whether any sample that is looked at has depth, measured or exact."""
        return any(_seems_measured(dataset) for dataset in self._datasets)

    @cached_property
    def unknown_cameras(self) -> tuple[LearnedCamera, ...]:
        """The cameras whose intrinsics are to be learned, each as it starts, in a fixed order."""
        found: dict[str, LearnedCamera] = {}
        for start, dataset in zip([0, *self._ends], self._datasets, strict=False):
            for index, one in _looked_at(dataset):
                if not one.intrinsics_known and one.camera not in found:
                    found[one.camera] = _starting(self[start + index])
        return tuple(found.values())

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many samples each data set has, in their order."""
        return tuple(len(dataset) for dataset in self._datasets)

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
    return any(one.depth_is_label for _, one in _looked_at(dataset))


def _seems_measured(dataset: SequenceDataset) -> bool:
    return any(
        (one.depth if isinstance(one, Moment) else one.depth_m) is not None for _, one in _looked_at(dataset)
    )


def _starting(sample: Sample) -> LearnedCamera:
    height, width = sample.image.shape[:2]
    return LearnedCamera(
        name=sample.camera,
        fx_per_width=float(sample.intrinsics[0, 0]) / width,
        fy_per_height=float(sample.intrinsics[1, 1]) / height,
    )


def _looked_at(dataset: SequenceDataset) -> Iterator[tuple[int, Moment | Sample]]:
    """Yield all samples' numbers and descriptions, or, where samples have to be made, three of them."""
    if isinstance(dataset, HasMoments) and dataset.moment(0) is not None:
        for index in range(len(dataset)):
            moment = dataset.moment(index)
            if moment is not None:
                yield index, moment
        return
    last = len(dataset) - 1
    for index in sorted({0, last // 2, last}):
        yield index, dataset[index]
