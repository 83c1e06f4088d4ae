"""The foundation model's tokens on disk, computed once a frame because the model is frozen.

An entry belongs to a frame's key, the model's weights and blocks, the network's input size, the precision,
and whether the image was flipped; it holds a checksum of the image, so that another video under the same
key is noticed. Two bytes a value: 2 MB for ViT-S/14 at 640x192.
"""

import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Float64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.atomic import replacing
from model.config import FoundationConfig
from training.data.augment import Crop
from training.data.layout import path_of_key
from training.data.prepared import PreparedDataset
from training.data.sequence import SequenceDataset

_log = logging.getLogger(__name__)

TOKENS = "tokens"
CHECKSUM = "image_crc32"
_LOG_EVERY = 200

Image = UInt8[np.ndarray, "height width 3"]


@runtime_checkable
class Foundation(Protocol):
    """The part of `model.foundation.FoundationEncoder` that is needed here."""

    config: FoundationConfig

    @property
    def fingerprint(self) -> str:
        """The weights' hash."""
        ...

    def __call__(
        self, image: Float[Tensor, "batch 3 height width"], /
    ) -> Sequence[Float[Tensor, "batch _ _ _"]]:
        """Return the token grids."""
        ...


class TokensError(Exception):
    """A sample's tokens are not in the cache, or are those of another image; the message names it."""


@dataclass(frozen=True, kw_only=True)
class TokenCache:
    """A folder of tokens for one foundation model and one input size."""

    folder: Path
    fingerprint: str
    """Of the foundation model's weights and the choice of blocks: see `fingerprint_of`."""
    height: int
    """Of the network's input, in pixels; the foundation model resizes further itself."""
    width: int
    bfloat16: bool = False
    """Whether tokens are computed under autocast, as in a step of that precision: off by 0.7 % on average."""

    @classmethod
    def of(
        cls, folder: Path, foundation: Foundation, height: int, width: int, *, bfloat16: bool = False
    ) -> "TokenCache":
        """Return the cache for a foundation model."""
        fingerprint = fingerprint_of(foundation)
        return cls(folder=folder, fingerprint=fingerprint, height=height, width=width, bfloat16=bfloat16)

    def path(self, key: str, flipped: bool) -> Path:
        """Return the file of an entry."""
        size = f"{self.width}x{self.height}{'-bfloat16' if self.bfloat16 else ''}"
        home = self.folder / self.fingerprint[:16] / size
        return path_of_key(home, key, f"{'.flipped' if flipped else ''}.safetensors")

    def missing(
        self,
        keys: Sequence[str],
        flips: Sequence[bool] = (False, True),
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> list[tuple[str, bool]]:
        """Return the keys and flips that have no entry, of one process's share of them."""
        # Shared out before anybody looks at what is there: others may be writing already.
        entries = [(key, flip) for key in keys for flip in flips][rank::world_size]
        return [entry for entry in entries if not self.path(*entry).is_file()]

    def read(self, key: str, flipped: bool, image: Image) -> Float16[Tensor, "grids channels rows columns"]:
        """Return a frame's token grids.

        Args:
            key: Of the frame.
            flipped: Whether the tokens of the flipped image are wanted.
            image: The frame at the network's input size, not flipped, to compare with.

        Raises:
            TokensError: There is no entry, or it is of another image.
        """
        path = self.path(key, flipped)
        try:
            with safe_open(path, "pt") as file:
                checksum = (file.metadata() or {}).get(CHECKSUM)
                tokens: Float16[Tensor, "grids channels rows columns"] = file.get_tensor(TOKENS)
        except FileNotFoundError:
            raise TokensError(f"no tokens of {key!r} in {path}; expected cache_tokens to have run") from None
        except SafetensorError as error:
            raise TokensError(f"the tokens of {key!r} in {path} cannot be read: {error}") from None
        if checksum != _checksum(image):
            raise TokensError(f"the tokens in {path} are of another image than {key!r} now; delete them")
        return tokens

    def write(
        self, key: str, flipped: bool, image: Image, tokens: Float16[Tensor, "grids channels rows columns"]
    ) -> None:
        """Store a frame's token grids whole or not at all, whatever happens meanwhile."""
        with replacing(self.path(key, flipped)) as partial:
            save_file({TOKENS: tokens.contiguous()}, partial, metadata={CHECKSUM: _checksum(image)})


def crop_tokens(
    tokens: Float16[Tensor, "grids channels rows columns"], crop: Crop, *, flipped: bool
) -> Float16[Tensor, "grids channels rows columns"]:
    """Return the part of an image's tokens that a crop of it shows, resampled to as many.

    Args:
        tokens: Of the whole image, mirrored if it is.
        crop: Of the image as it was before it was mirrored.
        flipped: Whether it is mirrored.
    """
    grids, channels, rows, columns = tokens.shape
    left = 1 - crop.left - crop.side if flipped else crop.left
    row = (crop.top + crop.side * (np.arange(rows) + 0.5) / rows) * rows - 0.5
    column = (left + crop.side * (np.arange(columns) + 0.5) / columns) * columns - 0.5
    down = torch.from_numpy(_linear(row, rows).astype(np.float32))
    across = torch.from_numpy(_linear(column, columns).astype(np.float32))
    flat = tokens.reshape(grids * channels, rows, columns).float()
    resampled: Float16[Tensor, "grids channels rows columns"] = (
        (down @ flat @ across.T).half().reshape(tokens.shape)
    )
    return resampled


def _linear(places: Float64[np.ndarray, " wanted"], count: int) -> Float64[np.ndarray, "wanted given"]:
    """Return the weights of linear interpolation between `count` values, which end where they end."""
    inside = np.clip(places, 0, count - 1)[:, None]
    weights: Float64[np.ndarray, "wanted given"] = np.maximum(0, 1 - np.abs(inside - np.arange(count)))
    return weights


def fingerprint_of(foundation: Foundation) -> str:
    """Return the hash of all that the tokens depend on besides the image."""
    config = foundation.config
    what = f"{config.name} {config.blocks} {foundation.fingerprint}"
    return hashlib.sha256(what.encode()).hexdigest()


def cache_tokens(
    dataset: SequenceDataset,
    foundation: Foundation,
    cache: TokenCache,
    *,
    flips: Sequence[bool] = (False, True),
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute the tokens of every target that the cache lacks, and return how many there were.

    Args:
        dataset: The samples.
        foundation: On `device` already.
        cache: Where to put them.
        flips: Which variants are needed.
        batch_size: Images a pass.
        device: Of the foundation model.
        rank: Which share of the work is ours.
        world_size: How many share it.
        progress: Called with the number done and the number to do.
    """
    prepared = PreparedDataset(dataset, height=cache.height, width=cache.width, max_bytes=0, depth=False)
    index_of = {key: index for index, key in enumerate(dataset.keys)}
    wanted = cache.missing(dataset.keys, flips, rank=rank, world_size=world_size)
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    done = 0
    with ThreadPoolExecutor(2) as pool:
        for keys, images in _read_ahead(pool, batches, lambda key: prepared.target(index_of[key])):
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=cache.bfloat16):
                grids = foundation(_to_tensor(images, [flip for _, flip in keys]).to(device))
            tokens = torch.stack([grid.to("cpu", torch.float16) for grid in grids], dim=1)
            for (key, flip), image, entry in zip(keys, images, tokens, strict=True):
                cache.write(key, flip, image, entry)
            done += len(keys)
            if progress is not None:
                progress(done, len(wanted))
            if done // _LOG_EVERY != (done - len(keys)) // _LOG_EVERY:
                _log.info("foundation tokens: %d of %d", done, len(wanted))
    return done


def _read_ahead(
    pool: ThreadPoolExecutor, batches: list[list[tuple[str, bool]]], read: Callable[[str], Image]
) -> Iterator[tuple[list[tuple[str, bool]], list[Image]]]:
    """Give each batch with its images, while those of the next are being read."""
    pending = [pool.submit(read, key) for key, _ in batches[0]] if batches else []
    for number, keys in enumerate(batches):
        images = [future.result() for future in pending]
        following = batches[number + 1] if number + 1 < len(batches) else []
        pending = [pool.submit(read, key) for key, _ in following]
        yield keys, images


def _to_tensor(images: Sequence[Image], flips: Sequence[bool]) -> Float[Tensor, "batch 3 height width"]:
    stacked = np.stack([image[:, ::-1] if flip else image for image, flip in zip(images, flips, strict=True)])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255)


def _checksum(image: Image) -> str:
    return f"{zlib.crc32(image.tobytes()):08x}"
