"""Which networks lie in the folder of models, and under which names and versions.

It reads names and times, never weights. An entry that hangs or cannot be looked at changes nothing about
the others.
"""

import asyncio
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from model.described import SUFFIX, description_path, network_files
from service.scheduling.worker import DeviceThread

logger = logging.getLogger(__name__)

_CHECKPOINT = ".safetensors"
_QUIET = ("", ".md", ".txt", ".rst", ".json", ".yaml", ".yml", ".sha256", ".partial")
"""Of files that nobody takes for networks."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """A checkpoint, or a described network, as it lies on disk."""

    name: str
    version: str | None
    """None where the file has no version of its own: the hash of its contents serves."""
    path: Path
    stamp: tuple[int, ...]
    """Changes whenever a file does: of each, modification time in ns, size and inode."""
    beside: tuple[Path, ...] = ()
    """The other files of a described network."""

    @property
    def unchanged(self) -> bool:
        """Whether the file is still the one that was found."""
        try:
            stamps = [_stamp(path.stat()) for path in (self.path, *self.beside)]
        except OSError:
            return False
        return tuple(number for each in stamps for number in each) == self.stamp


Found = list[CheckpointFile]
Look = Callable[[Path], tuple[Found, list[str]]]
"""Lists the checkpoints of one entry, and what is wrong with the others there."""


class CheckpointFolder:
    """The folder of models, which is looked through in threads that nobody waits for without end.

    It holds ``NAME.safetensors``, or ``NAME.onnx`` (``.xml``) with ``NAME.depth.json``; or a folder NAME with
    the same by VERSION. Only regular files count; files whose names could not stand in a path are left out,
    and so are hidden ones. Nothing else is ever opened.

    Args:
        place: A folder, or one checkpoint.
        timeout_s: How long one entry may take.
        look: Lists the checkpoints of one entry; tests have one that hangs.
    """

    def __init__(self, place: Path, timeout_s: float, look: Look | None = None) -> None:
        self._place, self._timeout_s, self._look = place, timeout_s, look or look_at
        self._finding = asyncio.Lock()
        self._last: dict[Path, Found] = {}
        """What each entry held when it could last be looked at."""
        self._hanging: dict[Path, asyncio.Future[None]] = {}
        self._told: set[tuple[Path, str]] = set()
        self._left: dict[Path, list[str]] = {}

    async def find(self) -> Mapping[str, Found]:
        """Return every model's checkpoints, the newest version first; versions count as people count.

        What an entry held before holds as long as it cannot be looked at.

        Raises:
            OSError: The folder itself cannot be looked through, which is not to say that it is gone.
        """
        async with self._finding:
            self._last = await self._look_at_all()
            gone = self._left.keys() - self._last.keys()
            self._left = {entry: told for entry, told in self._left.items() if entry not in gone}
            self._told = {(entry, told) for entry, told in self._told if told in self._left.get(entry, ())}
        models: dict[str, Found] = {}
        for here in self._last.values():
            for one in here:
                models.setdefault(one.name, []).append(one)
        for versions in models.values():
            versions.sort(key=lambda one: version_order(one.version or ""), reverse=True)
        return dict(sorted(models.items()))

    @property
    def left(self) -> list[tuple[Path, str]]:
        """What is not served, and why, as of the last look."""
        return [(entry, problem) for entry, problems in sorted(self._left.items()) for problem in problems]

    async def _look_at_all(self) -> dict[Path, Found]:
        self._hanging = {entry: task for entry, task in self._hanging.items() if not task.done()}
        if self._place in self._hanging:
            raise TimeoutError(f"{self._place} still does not answer")
        found: dict[Path, Found | None] = dict.fromkeys(self._hanging)
        while (hanging := await self._walk(found)) is not None:
            if hanging == self._place:
                raise TimeoutError(f"{self._place} did not answer within {self._timeout_s:g} s")
            self._tell(hanging, f"it did not answer within {self._timeout_s:g} s")
            found[hanging] = None
        return {entry: self._last.get(entry, []) if here is None else here for entry, here in found.items()}

    async def _walk(self, found: dict[Path, Found | None]) -> Path | None:
        """Look at every entry that is not among the `found` yet; return the one that hangs."""
        walk = _Walk(self._place, self._look, frozenset(found))
        thread = DeviceThread("folder of models")
        task = thread.run(walk.run)
        thread.stop()
        while not task.done() and (left_s := walk.since_s + self._timeout_s - time.monotonic()) > 0:
            await asyncio.wait([task], timeout=left_s)
        if not task.done():
            walk.abandoned = True
            self._hanging[walk.at] = task
        else:
            task.result()
        for entry in dict(walk.found):
            self._left.pop(entry, None)
        for entry, problem in list(walk.problems):
            self._tell(entry, problem)
        found.update(dict(walk.found))
        return None if task.done() else walk.at

    def _tell(self, entry: Path, problem: str) -> None:
        if (entry, problem) not in self._told:
            logger.warning("%s is left alone: %s", entry, problem)
        self._told.add((entry, problem))
        if problem not in self._left.setdefault(entry, []):
            self._left[entry].append(problem)


class _Walk:
    """One way through the folder, which runs in a thread."""

    def __init__(self, place: Path, look: Look, skip: Collection[Path]) -> None:
        self._place, self._look, self._skip = place, look, skip
        self.at, self.since_s = place, time.monotonic()
        self.found: dict[Path, Found | None] = {}
        """None where an entry could not be looked at."""
        self.problems: list[tuple[Path, str]] = []
        self.abandoned = False

    def run(self) -> None:
        for entry in self._entries():
            if self.abandoned:
                return
            if entry in self._skip:
                continue
            self.at, self.since_s = entry, time.monotonic()
            try:
                found, problems = self._look(entry)
            except OSError as error:
                found, problems = None, [error.strerror or str(error)]
            self.found[entry] = found
            self.problems += [(entry, problem) for problem in problems]

    def _entries(self) -> list[Path]:
        try:
            return [self._place] if self._place.is_file() else sorted(self._place.iterdir())
        except FileNotFoundError:
            return []


def look_at(entry: Path) -> tuple[Found, list[str]]:
    """List the networks of one entry, a file or a folder of versions, and what is not served of it, and why.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        folder = stat.S_ISDIR(entry.stat().st_mode)
        files = sorted(entry.iterdir()) if folder else [entry]
    except FileNotFoundError:
        return [], []  # gone since it was listed
    found: Found = []
    problems = []
    for path in files:
        name, version = (entry.name, _stem(path)) if folder else (_stem(path), None)
        problem = _problem_of(path)
        if problem is None and not (is_name(name) and (version is None or is_name(version))):
            problem = "its name could not stand in a path: expected letters, digits, dots and dashes"
        if problem is not None:
            problems += [f"{path.name}: {problem}" if folder else problem] if problem else []
            continue
        files_of_it = [path] if path.suffix == _CHECKPOINT else [path, *network_files(path)]
        try:
            stamps = [_stamp(one.stat()) for one in files_of_it]
            regular = stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            continue
        if regular:
            stamp = tuple(number for each in stamps for number in each)
            file = CheckpointFile(
                name=name, version=version, path=path, stamp=stamp, beside=tuple(files_of_it[1:])
            )
            found.append(file)
        else:
            problems.append(f"{path.name} is no regular file; expected a checkpoint")
    return found, problems


def _stem(path: Path) -> str:
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem


def _problem_of(path: Path) -> str | None:
    """Return why a file is not served by itself: None where it is, "" where nobody would expect it to be."""
    if path.name.startswith("."):
        return ""
    checkpoint, onnx, xml = (
        path.with_name(_stem(path) + suffix) for suffix in (_CHECKPOINT, ".onnx", ".xml")
    )
    if path.suffix == _CHECKPOINT:
        return None
    if path.name.endswith(SUFFIX):
        lonely = not (onnx.exists() or xml.exists())
        return f"it describes no network; expected {onnx.name} or {xml.name} beside it" if lonely else ""
    if path.suffix in (".onnx", ".xml"):
        return _network_problem(path, checkpoint, onnx)
    belongs = path.suffix == ".bin" and xml.exists()
    if belongs or ".onnx" in path.suffixes or path.suffix in _QUIET or path.is_dir():
        return ""
    return f"it is never opened; expected NAME{_CHECKPOINT}, or NAME.onnx (.xml) with NAME{SUFFIX} beside it"


def _network_problem(path: Path, checkpoint: Path, onnx: Path) -> str | None:
    if checkpoint.exists():
        # An export beside its checkpoint, which is what is served.
        return "" if path.suffix == ".xml" else f"{checkpoint.name}, of the same name, is served"
    if not description_path(path).exists():
        wanted = description_path(path).name
        return f"it has no description; expected {wanted} beside it, which depth-import writes"
    if path.suffix == ".xml" and onnx.exists():
        return f"{onnx.name}, of the same name, is served"
    return None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def is_name(text: str) -> bool:
    """Return whether a text may name a model or a version: letters, digits, dots, dashes; never a path."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which 2 comes before 10, and digits before letters."""
    parts = [part for part in _DIGITS.split(version) if part]
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
