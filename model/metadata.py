"""What a checkpoint says of itself: configuration, scale, provenance, measured accuracy and licence.

Versioned JSON in the header of the file of weights, read from there without torch.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from model.config import ModelConfig
from model.golden import GoldenAnswer
from model.licences import strictest
from model.records import read_record

FORMAT_VERSION = 2
"""The newest version of the JSON that this program reads and the one that it writes."""

_SAID_OF_IT = {"provenance", "accuracy", "licence", "storage", "golden", "format_version"}
"""Fields of a description that decide nothing about depth."""

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
    fy_per_height: float | None = None
    """The vertical focal length over the height of the pictures for which the metres hold. None where the
    network saw several lenses, or nobody noted which. A network stretches every picture to one size, so this
    ratio alone says how large things appear to it; see `lens_factor`."""
    affine: bool = False
    """Whether disparity is known up to a scale and a shift only, rather than up to a scale."""

    def __post_init__(self) -> None:
        if self.unit not in ("metre", "relative"):
            raise ValueError(f"scale.unit must be 'metre' or 'relative', not {self.unit!r}")
        if self.unit == "relative" and self.metres_per_unit is not None:
            raise ValueError(f"a relative scale has no metres_per_unit, not {self.metres_per_unit}")
        if self.unit == "metre" and not (self.metres_per_unit or 0.0) > 0.0:
            raise ValueError(f"scale.metres_per_unit must be a positive number, not {self.metres_per_unit!r}")
        if self.fy_per_height is not None and (self.unit == "relative" or not self.fy_per_height > 0.0):
            raise ValueError(
                f"scale.fy_per_height must be a positive number, and belongs to metres; it is "
                f"{self.fy_per_height!r} and the unit is {self.unit!r}"
            )
        if self.unit == "metre" and self.affine:
            raise ValueError("scale.affine is True and scale.unit is 'metre'; expected one of them")

    @property
    def factor(self) -> float:
        """Depth in :attr:`unit` is this over disparity."""
        return 1.0 if self.metres_per_unit is None else self.metres_per_unit

    def lens_factor(self, fy_per_height: float) -> float | None:
        """Return what metric depth of a picture through another lens is multiplied by; None where unknown.

        A thing of one size at depth z covers fy / z pixels: through twice the focal length it appears as
        large as at half the depth, so depth is multiplied by the ratio (Yin et al., "Metric3D", ICCV 2023).

        Args:
            fy_per_height: The picture's vertical focal length over its height, both in pixels.
        """
        return None if self.fy_per_height is None else fy_per_height / self.fy_per_height


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A checkpoint that this one was made from."""

    role: str
    """What it was to this one, such as `teacher`, `initial` or `pose`."""
    sha256: str
    """Of the parent's file."""
    licence: str = ""
    """The strictest of its own and its parents'; empty where none is stated."""


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
class LearnedCamera:
    """A camera that the data did not know, as training learned it with the depth."""

    name: str
    """As the data names it."""
    fx_per_width: float
    """The horizontal focal length over the width of its frames, both in pixels."""
    fy_per_height: float
    """Likewise vertical; of the rows that were kept."""

    @property
    def fov_deg(self) -> float:
        """The horizontal field of view."""
        return 2 * math.degrees(math.atan(0.5 / self.fx_per_width))


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
    """How the weights are stored; filled in when the file is written."""

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
    cameras: tuple[LearnedCamera, ...] = ()
    """Those that training did not know, and learned."""
    licence: str = ""
    """Of the weights, which is not that of the code or of the data."""
    foundation_sha256: str | None = None
    """Fingerprint of the foundation model that the weights were trained with; None without one."""
    storage: Storage = Storage()
    golden: GoldenAnswer | None = None
    """What the plain network of these weights returns for the drawn image; filled in when the file is
    written. None in files of format version 1."""
    format_version: int = FORMAT_VERSION

    def inherited_licence(self) -> str:
        """Return the strictest licence of its own and its parents'; "" where none is stated."""
        return strictest([self.licence, *(parent.licence for parent in self.provenance.parents)])

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
def open_checkpoint(
    path: Path, framework: Literal["numpy", "pt"] = "numpy"
) -> Iterator[tuple[Any, CheckpointMetadata]]:
    """Open a checkpoint with safetensors' `safe_open` and read what it says of itself.

    Tensors of the handle belong to this description, even when another file takes the path meanwhile.

    Args:
        path: The file.
        framework: What the handle's tensors are made of.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or newer than this program; or the
            block could not read a tensor.
    """
    try:
        with path.open("rb") as file:  # safe_open's own words for a folder or an empty file name neither
            if not file.read(1):
                raise ValueError("the file is empty")
        with safe_open(path, framework) as handle:
            yield handle, _describe(handle)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise CheckpointError(path, f"damaged, or not a safetensors file ({error})") from error
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error


def _describe(handle: Any) -> CheckpointMetadata:
    said = handle.metadata() or {}
    if METADATA_KEY not in said:
        raise ValueError(
            f"a safetensors file but not a checkpoint of ours: its header lacks {METADATA_KEY!r}"
        )
    try:
        return CheckpointMetadata.from_json(said[METADATA_KEY])
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"its description is damaged or not ours: {error}") from error


def contents_sha256(path: Path) -> str:
    """Return the hash of what decides depth: a checkpoint's tensors, configuration, scale and so on.

    It is the same for every file that holds them, however it was written, and whatever else the description
    says. Versions and exports go by it.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or newer than this program.
    """
    with open_checkpoint(path) as (handle, metadata):
        decides = {
            name: value for name, value in dataclasses.asdict(metadata).items() if name not in _SAID_OF_IT
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for name in sorted(handle.offset_keys()):
            tensor = handle.get_slice(name)
            digest.update(json.dumps([name, tensor.get_dtype(), tensor.get_shape()]).encode())
            digest.update(handle.get_tensor(name).tobytes())
    return digest.hexdigest()
