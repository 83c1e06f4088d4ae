"""Which photographs and videos a command line means, and under which names their depth goes.

It knows names of files only: what is in them shows when they are read.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.footage import VIDEO_SUFFIXES, natural_key
from service.contract.errors import InvalidArgument

PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif")
VIDEOS = VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Input:
    """A photograph or a video, and the name of what is made of it."""

    path: Path
    stem: Path
    """Below the output folder; what is written adds its own ending, such as `_depth.png`."""

    @property
    def is_video(self) -> bool:
        """Whether its name says that it is a video."""
        return self.path.suffix.lower() in VIDEOS


def find_inputs(paths: Sequence[Path], output: Path) -> list[Input]:
    """Return what to predict: files as they are, and what a folder holds, its own folders included.

    A folder's order is that of its names, `2` before `10`, and its tree is kept in the stems. What lies in
    the output folder is not taken for input. Where two files differ by their endings alone, these stay in
    their stems.

    Raises:
        InvalidArgument: A path leads nowhere, a folder holds nothing to predict, or two files of different
            folders have one name.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            count = len(found)
            for file in _below(path, output.resolve()):
                found.setdefault(file, file.relative_to(path))
            if len(found) == count:
                raise InvalidArgument(f"{path} holds nothing new to predict; expected {_endings()}")
        elif path.is_file():
            found.setdefault(path, Path(path.name))
        else:
            raise InvalidArgument(f"{path} is not there")
    stems = Counter(_bare(name) for name in found.values())
    inputs = [
        Input(path=path, stem=name if stems[_bare(name)] > 1 else _bare(name)) for path, name in found.items()
    ]
    _check_names(inputs)
    return inputs


def _below(folder: Path, output: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*"), key=natural_key):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if hidden or file.suffix.lower() not in PHOTOGRAPHS + VIDEOS or not file.is_file():
            continue
        # The output folder itself may be given, or hold it; what an earlier run wrote is no photograph.
        if output == folder.resolve() or not file.resolve().is_relative_to(output):
            yield file


def _bare(name: Path) -> Path:
    return name.with_name(name.stem)


def _check_names(inputs: Sequence[Input]) -> None:
    first: dict[Path, Path] = {}
    for one in inputs:
        other = first.setdefault(one.stem, one.path)
        if other != one.path:
            raise InvalidArgument(
                f"{other} and {one.path} have the same name; expected a folder that holds both, or two runs"
            )


def _endings() -> str:
    return " ".join(PHOTOGRAPHS + VIDEOS)
