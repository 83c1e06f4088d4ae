"""Batches for ever, from any step on: read, resize, augment and stack ahead of the trainer in threads.

The content of a batch is a pure function of the seed and the step. Threads suffice, because decoding,
resizing and the conversions release the interpreter's lock.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import cv2
import torch

from training.data.augment import Augmentation, AugmentConfig, draw
from training.data.batch import Batch
from training.data.collate import FramedSample, canonical, collate, collate_raw, frame, multiplied
from training.data.mixture import Mixture
from training.data.order import SampleOrder
from training.data.prepared import PreparedDataset
from training.data.relight import RawBatch
from training.data.sequence import SequenceDataset
from training.data.tokens import TokenCache, TokensError, crop_tokens

_log = logging.getLogger(__name__)
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made."""

    height: int = 192
    """Of the network's input, in pixels."""
    width: int = 640
    batch_size: int = 12
    """Of all processes together."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    canonical_fy_per_height: float | None = None
    """The lens that all samples are brought to, see `canonical`; None: each keeps its own metres."""
    metres_per_unit: float = 1.0
    """What a unit of the network's depth is worth from the start: metres are brought to that unit."""
    depth: bool = True
    """Whether measured depth is read, to watch training; labels are always read."""
    views: bool = True
    """Whether other views than the target are read."""
    threads: int = 2
    """How many batches are made at once."""
    prefetch: int = 4
    """How many batches may wait, those being made included."""
    cache_bytes: int = 2 * _GIB
    """How much memory resized frames may take; 369 KB a frame at 640x192."""
    raw: bool = False
    """Whether images of training batches stay bytes until they are on the device, and are relit there."""
    pin_memory: bool | None = None
    """Whether batches lie in page-locked memory; None: if there is a GPU."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "batch_size", "threads", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.cache_bytes < 0:
            raise ValueError(f"cache_bytes is {self.cache_bytes}; expected at least 0")


class BatchLoader:
    """Batches of a data set.

    With several processes, each takes its own part of every batch, so that together they see what one would.

    Args:
        dataset: The samples.
        config: How batches are made.
        seed: Decides the order and every random change.
        rank: Which process this is.
        world_size: Of how many.
        tokens: Where the foundation model's tokens are, for every sample; None: batches have none.

    Raises:
        ValueError: The settings contradict each other.
        TokensError: The cache lacks samples.
    """

    def __init__(
        self,
        dataset: SequenceDataset,
        config: LoaderConfig,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        tokens: TokenCache | None = None,
    ) -> None:
        if config.batch_size % world_size or not 0 <= rank < world_size:
            raise ValueError(
                f"a batch of {config.batch_size} for rank {rank} of {world_size}; "
                "expected a batch size that the number of processes divides, and a rank below it"
            )
        if len(dataset) == 0:
            raise ValueError(f"no samples to load: {dataset.describe()}")
        if tokens is not None:
            _check_tokens(tokens, dataset, config)
        self.config = config
        self.lengths = dataset.lengths if isinstance(dataset, Mixture) else (len(dataset),)
        self._rank = rank
        self._share = config.batch_size // world_size
        self._tokens = tokens
        unknown = dataset.unknown_cameras if isinstance(dataset, Mixture) else ()
        self._cameras = [camera.name for camera in unknown]
        zoom = config.augment.zoom
        self._prepared = PreparedDataset(
            dataset,
            height=round(config.height * zoom),
            width=round(config.width * zoom),
            max_bytes=config.cache_bytes,
            depth=config.depth,
            views=config.views,
        )
        self._order = (
            dataset.order(seed) if isinstance(dataset, Mixture) else SampleOrder([len(dataset)], None, seed)
        )
        self._pin = torch.cuda.is_available() if config.pin_memory is None else config.pin_memory
        self._waited_s = 0.0
        self._since = time.monotonic()
        # Each worker is a thread of ours; OpenCV's own pool would only fight with them over the cores.
        cv2.setNumThreads(1)

    @property
    def wait_share(self) -> float:
        """The share of time, since the last reset, that the trainer waited for data."""
        return self._waited_s / max(time.monotonic() - self._since, 1e-9)

    def reset_wait_share(self) -> None:
        """Measure the share of waiting from now on."""
        self._waited_s = 0.0
        self._since = time.monotonic()

    @property
    def cached_bytes(self) -> int:
        """How much memory the resized frames take."""
        return self._prepared.used_bytes

    def batch_at(self, step: int) -> Batch | RawBatch:
        """Make our part of one step's batch, now and in this thread."""
        turns = [self._order.at(position) for position in self._positions(step)]
        samples = [
            self._framed(turn.index, draw(self.config.augment, self._order.changes(turn))) for turn in turns
        ]
        if not self.config.raw:
            return self._collated(samples)
        raw = collate_raw(samples, self._cameras)
        return raw.pin_memory() if self._pin else raw

    def photographed_at(self, step: int) -> Batch:
        """Make our part of one step's batch without random changes, now and in this thread."""
        return self._plain(self._order.at(position).index for position in self._positions(step))

    def batches(self, start_step: int = 0) -> Iterator[Batch | RawBatch]:
        """Give our part of every batch from a step on, without end.

        Raises:
            FrameError: A file that was there at the start has gone or changed.
            TokensError: Likewise for tokens.
        """
        pool = ThreadPoolExecutor(self.config.threads, thread_name_prefix="batches")
        waiting: deque[Future[Batch | RawBatch]] = deque()
        step = start_step
        self.reset_wait_share()
        try:
            while True:
                while len(waiting) < self.config.prefetch:
                    waiting.append(pool.submit(self.batch_at, step))
                    step += 1
                asked = time.monotonic()
                batch = waiting.popleft().result()
                self._waited_s += time.monotonic() - asked
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def in_order(self) -> Iterator[Batch]:
        """Give every sample once, in order and without random changes; for validation.

        The last batch may be smaller. With several processes, each takes every so many-th batch.
        """
        stride = self.config.batch_size
        starts = range(self._rank * self._share, len(self._prepared), stride)
        parts = [range(start, min(start + self._share, len(self._prepared))) for start in starts]
        with ThreadPoolExecutor(self.config.threads) as pool:
            waiting = deque(pool.submit(self._plain, part) for part in parts[: self.config.prefetch])
            for number in range(len(parts)):
                batch = waiting.popleft().result()
                if number + self.config.prefetch < len(parts):
                    waiting.append(pool.submit(self._plain, parts[number + self.config.prefetch]))
                yield batch

    def _positions(self, step: int) -> range:
        start = step * self.config.batch_size + self._rank * self._share
        return range(start, start + self._share)

    def _plain(self, indices: Iterable[int]) -> Batch:
        unchanged = Augmentation()
        return self._collated([self._framed(index, unchanged) for index in indices])

    def _framed(self, index: int, augmentation: Augmentation) -> FramedSample:
        sample = self._prepared[index]
        tokens = None
        if self._tokens is not None:
            tokens = self._tokens.read(sample.key, augmentation.flip, sample.image)
            if augmentation.crop is not None:
                tokens = crop_tokens(tokens, augmentation.crop, flipped=augmentation.flip)
        framed = frame(
            sample,
            augmentation,
            height=self.config.height,
            width=self.config.width,
            tokens=tokens,
            relight=not self.config.raw,
        )
        lens, unit_m = self.config.canonical_fy_per_height, self.config.metres_per_unit
        framed = framed if lens is None else canonical(framed, lens)
        return framed if unit_m == 1 else multiplied(framed, 1 / unit_m)

    def _collated(self, samples: list[FramedSample]) -> Batch:
        batch = collate(samples, self._cameras)
        batch = replace(batch, counted=batch.count())
        return batch.pin_memory() if self._pin else batch


def _check_tokens(tokens: TokenCache, dataset: SequenceDataset, config: LoaderConfig) -> None:
    if config.augment.crop and not config.augment.resampled_tokens:
        raise ValueError(
            "random crops and cached tokens exclude each other, because tokens are of whole images; "
            "expected augment.crop=0, augment.resampled_tokens, or tokens computed in the step"
        )
    if (tokens.height, tokens.width) != (config.height, config.width):
        raise ValueError(
            f"the tokens are of {tokens.width}x{tokens.height} images; "
            f"expected {config.width}x{config.height}"
        )
    flips = (False, True) if config.augment.flip else (False,)
    if missing := tokens.missing(dataset.keys, flips):
        raise TokensError(
            f"{len(missing)} of {len(dataset) * len(flips)} entries are missing in {tokens.folder}, such as "
            f"{missing[0][0]!r}; expected cache_tokens to have run"
        )
