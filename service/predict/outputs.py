"""Where depth goes on disk, and what is said of it afterwards; no file that was there is lost unasked."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.atomic import replacing
from service.codec.encode import Surfaces
from service.contract.answer import ScaleSource, Unit
from service.contract.basis import Fact
from service.contract.errors import InvalidArgument
from service.contract.formats import Format, PlyEdges
from service.predict.inputs import Input

SIDE_BY_SIDE = "_side_by_side.mp4"
FRAMES = "_frames"
"""The folder of a video's frames."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One file that was written; for a video's frames, their folder."""

    path: str
    scale: float | None = None
    """Stored value x scale = depth; None where the file is to be looked at."""
    invalid: str = "none"
    """The stored value that says that there is no depth."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was made of one photograph or video."""

    input: str
    height: int
    """Of the upright picture, in pixels."""
    width: int
    unit: Unit
    scale_source: ScaleSource
    network_scale: float
    """What the network's own depth was multiplied by, to be in :attr:`unit`; of a video's first frame. Files
    have it in them: how their values are read is said in :attr:`files`."""
    minimum: float
    """Smallest and largest depth, in :attr:`unit`; of a video, over all frames."""
    maximum: float
    files: Mapping[str, Stored]
    """By format, and `side_by_side`."""
    frames: int | None = None
    """Of a video."""
    basis: Mapping[str, Fact] | None = None
    """What the metres rest on: the lens that they hold for, and how well they are known."""
    notice: str | None = None
    """What is odd about a photograph, in a sentence."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What could not be made, and why."""

    input: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


class Outputs:
    """The output folder.

    Args:
        folder: Made where it is missing.
        formats: What is written of each photograph.
        overwrite: Whether files that are there may be replaced; inputs never are.
        ply_edges: Whether point clouds have points in the sky and between surfaces, too.
    """

    def __init__(
        self, folder: Path, formats: Collection[Format], *, overwrite: bool, ply_edges: PlyEdges = "keep"
    ) -> None:
        self.folder = folder
        self.formats = tuple(dict.fromkeys(formats))
        self.need_photographs = any(kind.spec.content == "points" for kind in self.formats)
        self._overwrite, self._ply_edges = overwrite, ply_edges

    def check(self, inputs: Collection[Input], *, frames: bool) -> None:
        """Refuse before anything is computed what would be refused after.

        Args:
            inputs: What is to be predicted.
            frames: Whether each frame of a video is written, too.

        Raises:
            InvalidArgument: A file is in the way.
        """
        sources = {one.path.resolve() for one in inputs}
        targets = [target for one in inputs for target in self._targets(one, frames=frames)]
        for target in targets:
            if target.resolve() in sources:
                raise InvalidArgument(
                    f"{target} is an input, and would be replaced; expected another --output"
                )
        there = [target for target in targets if target.exists()]
        if there and not self._overwrite:
            more = f" and {len(there) - 1} more exist" if len(there) > 1 else " exists"
            raise InvalidArgument(f"{there[0]}{more}; expected another --output, or --overwrite")

    def surfaces(self, network_size: tuple[int, int], farthest: float) -> Surfaces | None:
        """Return what tells points of a cloud that lie on surfaces, where it keeps these alone."""
        if self._ply_edges == "keep":
            return None
        return Surfaces(network_size=network_size, farthest=farthest)

    def path(self, stem: Path, ending: str) -> Path:
        """Return where a file goes."""
        return self.folder / stem.with_name(stem.name + ending)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Yield where to write a file that appears whole, or not at all.

        Raises:
            FileExistsError: It came to be since the run began.
        """
        with replacing(path) as partial:
            yield partial
            if not self._overwrite and path.exists():
                raise FileExistsError(17, "appeared while this ran, and is left as it is", str(path))

    def write(self, path: Path, body: bytes) -> None:
        """Write a file."""
        with self.writing(path) as partial:
            partial.write_bytes(body)

    def _targets(self, one: Input, *, frames: bool) -> Iterator[Path]:
        if not one.is_video:
            yield from (self.path(one.stem, kind.spec.suffix) for kind in self.formats)
            return
        yield self.path(one.stem, SIDE_BY_SIDE)
        if frames:
            yield self.path(one.stem, FRAMES)
