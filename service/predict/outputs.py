"""Where depth goes on disk, and what is said of it afterwards; no file that was there is lost unasked.

It does not know how depth is encoded.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.atomic import replacing
from service.answer import ScaleSource, Unit
from service.errors import InvalidArgument
from service.predict.inputs import Input
from service.request import Format

ENDINGS: Mapping[Format, str] = {
    Format.PNG16: "_depth.png",
    Format.NPY: "_depth.npy",
    Format.JXL: "_depth.jxl",
    Format.COLOR: "_color.png",
    Format.PLY: "_points.ply",
}
"""What is added to an input's stem."""
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
    scale: float
    """What the network's own depth was multiplied by, to be in :attr:`unit`; of a video's first frame."""
    minimum: float
    """Smallest and largest depth, in :attr:`unit`; of a video, over all frames."""
    maximum: float
    files: Mapping[str, Stored]
    """By format, and `side_by_side`."""
    frames: int | None = None
    """Of a video."""

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
    """

    def __init__(self, folder: Path, formats: Collection[Format], *, overwrite: bool) -> None:
        self.folder = folder
        self.formats = tuple(dict.fromkeys(formats))
        self._overwrite = overwrite

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
            yield from (self.path(one.stem, ENDINGS[kind]) for kind in self.formats)
            return
        yield self.path(one.stem, SIDE_BY_SIDE)
        if frames:
            yield self.path(one.stem, FRAMES)
