"""What a checkpoint says of itself: configuration, scale, provenance, measured accuracy and licence.

Versioned JSON in the header of the file of weights, read from there without torch. It does not know the
weights.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from model.config import ModelConfig
from model.header import read_header
from model.records import read_record

FORMAT_VERSION = 1
"""The newest version of the JSON that this program reads and the one that it writes."""

METADATA_KEY = "depth_checkpoint"
"""Under which name of a safetensors header the JSON stands."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used.

    Attributes:
        path: The file.
        problem: What is wrong with it, and where possible what was expected.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class DepthScale:
    """What one unit of a network's depth is worth."""

    unit: Literal["metre", "relative"] = "relative"
    """`metre` where the unit is known, `relative` where depth is known up to an unknown factor only."""
    metres_per_unit: float | None = None
    """Multiplies the network's depth to give metres; None where relative."""

    def __post_init__(self) -> None:
        if self.unit not in ("metre", "relative"):
            raise ValueError(f"scale.unit must be 'metre' or 'relative', not {self.unit!r}")
        if self.unit == "relative" and self.metres_per_unit is not None:
            raise ValueError(f"a relative scale has no metres_per_unit, not {self.metres_per_unit}")
        if self.unit == "metre" and not (self.metres_per_unit or 0.0) > 0.0:
            raise ValueError(f"scale.metres_per_unit must be a positive number, not {self.metres_per_unit!r}")

    @property
    def factor(self) -> float:
        """Depth in :attr:`unit` is this over disparity."""
        return 1.0 if self.metres_per_unit is None else self.metres_per_unit


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A checkpoint that this one was made from."""

    role: str
    """What it was to this one, such as `teacher`, `initial` or `pose`."""
    sha256: str
    """Of the parent's file."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where weights come from."""

    data: tuple[str, ...] = ()
    """The sequences that were trained on, as their datasets describe themselves."""
    recipe: str = ""
    """The named run, with what was overridden."""
    steps: int = 0
    seed: int = 0
    commit: str = ""
    """The commit of the code that trained."""
    parents: tuple[Parent, ...] = ()
    trained_on: str = ""
    """The day on which training ended, as YYYY-MM-DD."""
    hours: float = 0.0
    """Of training, on the machine that the notes name."""
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One measured row of a published protocol, in metres."""

    protocol: str
    """Such as `kitti_eigen`."""
    alignment: str
    """How predictions were scaled to the ground truth, such as `median`, `least_squares` or `none`."""
    data: str
    """Which frames were measured."""
    images: int
    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    delta1: float
    delta2: float
    delta3: float


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How the weights are stored; filled in by whoever writes the file."""

    dtype: Literal["float32", "float16"] = "float32"
    """Of the weights; vectors (biases, norms and their statistics) are always float32."""
    train_only_heads: bool = True
    """False where the heads that only training needs were left out."""
    foundation: bool = False
    """True where the frozen foundation model's weights are in the file too."""


@dataclass(frozen=True, kw_only=True)
class CheckpointMetadata:
    """All that a checkpoint says of itself."""

    config: ModelConfig
    scale: DepthScale = DepthScale()
    provenance: Provenance = Provenance()
    accuracy: tuple[Accuracy, ...] = ()
    licence: str = ""
    """Of the weights, which is not that of the code or of the data."""
    foundation_sha256: str | None = None
    """Fingerprint of the foundation model that the weights were trained with; None without one."""
    storage: Storage = Storage()
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the JSON that :meth:`from_json` reads."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "CheckpointMetadata":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The version is newer than this program, or a field is missing, unknown or wrong.
        """
        fields = json.loads(text)
        version = fields.get("format_version") if isinstance(fields, dict) else None
        if type(version) is not int or version < 1:
            raise ValueError(f"its format_version must be a natural number, not {version!r}")
        if version > FORMAT_VERSION:
            raise ValueError(
                f"its format version {version} is newer than this program, which reads up to {FORMAT_VERSION}"
            )
        return read_record(cls, fields, "metadata")


def read_metadata(path: Path) -> CheckpointMetadata:
    """Read what a checkpoint says of itself, without torch and without its weights.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or newer than this program.
    """
    with open_checkpoint(path) as (_, metadata):
        return metadata


@contextmanager
def open_checkpoint(path: Path) -> Iterator[tuple[BinaryIO, CheckpointMetadata]]:
    """Open a checkpoint, check its header and read what it says of itself.

    Weights read from this file belong to this description, even when the path is given a new file meanwhile.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or newer than this program; or the
            block could not read on.
    """
    try:
        with path.open("rb") as file:
            yield file, _describe(file)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error


def _describe(file: BinaryIO) -> CheckpointMetadata:
    header = read_header(file)
    if METADATA_KEY not in header.metadata:
        raise ValueError(
            f"a safetensors file but not a checkpoint of ours: its header lacks {METADATA_KEY!r}"
        )
    try:
        return CheckpointMetadata.from_json(header.metadata[METADATA_KEY])
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"its description is damaged or not ours: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the hash by which caches, and the checkpoints made from it, know a checkpoint's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
