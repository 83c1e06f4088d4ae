"""Find missing files, wrong layouts and unreadable frames, all of them, before training starts.

Readers add what they miss to `Findings` and say how their folder should look. Nothing here knows any
published layout or decodes an image in full.
"""

import codecs
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

from PIL import Image, UnidentifiedImageError

from model.footage import natural_key

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_SHOWN = 20
_NUMBER = re.compile("[0-9]+")
_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}
_EXIF_ORIENTATION = 274
_QUARTER_TURNS = (5, 6, 7, 8)


def path_of_key(folder: Path, key: str, ending: str) -> Path:
    """Return the file below a folder that belongs to a sample's key, wherever the key tries to point."""
    parts = [quote(part, safe=" ") for part in key.split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*parts[:-1], f"{parts[-1]}{ending}")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with the data."""

    path: Path
    trouble: str
    """What is wrong with it, as in ``is missing``."""

    def __str__(self) -> str:
        return f"{self.path}: {self.trouble}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is wrong with one data set."""

    dataset: str
    problems: tuple[Problem, ...]
    layout: str
    """How its folder should look."""

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{self.dataset}: {count} problem{'' if count == 1 else 's'}"]
        lines += [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  and {count - _SHOWN} more")
        lines += ["expected layout:", *(f"  {line}" for line in self.layout.strip().splitlines())]
        return "\n".join(lines)


class LayoutError(Exception):
    """Data that cannot be used as it lies; the message lists the problems and the expected layouts."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = tuple(reports)
        super().__init__("\n\n".join(str(report) for report in reports))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of all data sets."""
        return tuple(problem for report in self.reports for problem in report.problems)


class Findings:
    """The problems that a reader has found so far in one data set."""

    def __init__(self, dataset: str, layout: str) -> None:
        self._dataset = dataset
        self._layout = layout
        self._problems: dict[tuple[Path, str], Problem] = {}

    def add(self, path: Path, trouble: str) -> None:
        """Note a problem; the same one twice counts once."""
        self._problems.setdefault((path, trouble), Problem(path=path, trouble=trouble))

    def has_file(self, path: Path, purpose: str) -> bool:
        """Return whether a file is there, and note its absence."""
        return self._has(path, path.is_file(), f"missing file: {purpose}")

    def has_folder(self, path: Path, purpose: str) -> bool:
        """Return whether a folder is there, and note its absence."""
        return self._has(path, path.is_dir(), f"missing folder: {purpose}")

    def __bool__(self) -> bool:
        return bool(self._problems)

    def raise_if_any(self) -> None:
        """Stop here if anything is wrong.

        Raises:
            LayoutError: With everything found.
        """
        if self._problems:
            problems = tuple(self._problems.values())
            raise LayoutError([Report(dataset=self._dataset, problems=problems, layout=self._layout)])

    def _has(self, path: Path, there: bool, trouble: str) -> bool:
        if not there:
            self.add(path, trouble)
        return there


Opened = TypeVar("Opened", covariant=True)
Key = TypeVar("Key", bound=Hashable)


def open_all(openers: Iterable[Callable[[], Opened]]) -> list[Opened]:
    """Open several data sets, going on past the first that fails, so that one message tells everything.

    Raises:
        LayoutError: With the problems of all that failed.
    """
    opened: list[Opened] = []
    reports: list[Report] = []
    for opener in openers:
        try:
            opened.append(opener())
        except LayoutError as error:
            reports.extend(error.reports)
    if reports:
        raise LayoutError(reports)
    return opened


@runtime_checkable
class Verifiable(Protocol):
    """A data set that can look at all of its files."""

    def verify(self) -> None:
        """Look at every file's header.

        Raises:
            LayoutError: With every problem found.
        """
        ...


def verify_all(datasets: Iterable[object]) -> None:
    """Look at every file of every data set that has files.

    Raises:
        LayoutError: With the problems of all that failed.
    """
    open_all([dataset.verify for dataset in datasets if isinstance(dataset, Verifiable)])


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a look at an image file's beginning and end tells."""

    height: int
    width: int
    bits: int = 8
    """A channel, as far as a PNG says; 8 of anything else."""
    trouble: str | None = None
    """Why it cannot be used; the size is then 0 x 0 or unsure."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width


def read_header(path: Path) -> Header:
    """Read an image's size, and look whether the file is complete, without decoding it."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Of a PNG, Pillow would have to decode all to know its EXIF.
            if image.format == "JPEG" and image.getexif().get(_EXIF_ORIENTATION, 1) in _QUARTER_TURNS:
                width, height = height, width
            ending = _ENDINGS.get(image.format or "")
    except FileNotFoundError:
        return Header(height=0, width=0, trouble="missing file")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        return Header(height=0, width=0, trouble=f"not a readable image ({error})")
    if ending is not None and ending not in _tail(path):
        return Header(height=height, width=width, trouble="cut short: the end of the image is missing")
    return Header(height=height, width=width, bits=_png_bits(path) if ending == _ENDINGS["PNG"] else 8)


def _png_bits(path: Path) -> int:
    """The bit depth that a PNG's first chunk states: Pillow makes 8 bits of 16 without a word."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _tail(path: Path, size: int = 64) -> bytes:
    """The last bytes of a file; some writers pad behind the end of the image."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - size))
        return file.read()


def read_headers(paths: Sequence[Path], threads: int = 4) -> list[Header]:
    """Read many headers at once."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read_header, paths, chunksize=64))


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder with one of the suffixes, ``2`` before ``10``; none where it is missing.

    Hidden files are left out: macOS puts a ``._NAME`` beside each file that it copies to a foreign disk.
    """
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    return sorted((path for path in files if not path.name.startswith(".")), key=natural_key)


def images_in(folder: Path) -> dict[str, Path]:
    """Map the stem of every PNG or JPEG in a folder to its path, ``frame2`` before ``frame10``.

    Raises:
        LayoutError: Two of them differ in their suffix, or in capitals, alone.
    """
    found = _by(lambda path: path.stem.casefold(), files_in(folder, IMAGE_SUFFIXES))
    return {path.stem: path for path in found.values()}


def numbered(files: Iterable[Path]) -> dict[int, Path]:
    """Map the numbers that files have for names to their paths; files of other names are left out.

    Raises:
        LayoutError: Two names are one number, as ``7.png`` and ``07.png`` are.
    """
    return _by(lambda path: int(path.stem), (path for path in files if _NUMBER.fullmatch(path.stem)))


def _by(key: Callable[[Path], Key], files: Iterable[Path]) -> dict[Key, Path]:
    """Map each file's key to the file, and refuse two of one key: nobody can tell which is meant."""
    found: dict[Key, Path] = {}
    problems = []
    for path in files:
        other = found.setdefault(key(path), path)
        if other is not path:
            trouble = f"lies beside {other.name}; expected one file of that name or number"
            problems.append(Problem(path=path, trouble=trouble))
    if problems:
        layout = f"{problems[0].path.parent}/<one file for each frame>"
        raise LayoutError(
            [Report(dataset=str(problems[0].path.parent), problems=tuple(problems), layout=layout)]
        )
    return found


def read_text(path: Path) -> str:
    """Return the text of a file that people or other programs wrote: UTF-8, or UTF-16 with its mark.

    Raises:
        LayoutError: It is neither.
    """
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(path=path, trouble=f"is no text ({error}); expected UTF-8 or UTF-16")
        raise LayoutError([Report(dataset=str(path), problems=(problem,), layout="a text file")]) from error
