"""What the command lines share: repeated options, closed pipes, and plain words for errors."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


def merged(arguments: Sequence[str] | None, *lists: str) -> list[str]:
    """Join the values of an option that is given more than once, where it is given first.

    tyro keeps the last one alone and says nothing: right where a later value overrides an earlier one, and
    wrong where values belong together. Joined, ``--data A --data B`` is ``--data A B``, which an option of
    one value refuses.

    Args:
        arguments: None: those of this process.
        lists: The options whose values belong together.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    runs: list[list[str]] = [[]]
    first: dict[str, list[str]] = {}
    for word in given[:end]:
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if not word.startswith("--"):
            runs[-1].append(word)
        elif name not in lists:
            runs.append([word])
        elif name not in first:
            first[name] = [name, *([value] if equals else [])]
            runs.append(first[name])
        else:  # what follows belongs to the first
            runs.append(first[name])
            first[name] += [value] if equals else []
    return [word for run in {id(run): run for run in runs}.values() for word in run] + given[end:]


@contextmanager
def ending_with_its_reader() -> Iterator[None]:
    """End the program quietly once nobody reads its output, as in ``depth-info CHECKPOINT | head -1``.

    Its status is then that of a program that SIGPIPE ended. Use it as the decorator of a command's function.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


class LogLines(logging.StreamHandler[TextIO]):
    """A log on standard output, for work that goes on when nobody reads it any more."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what went wrong with a line, unless it is only that nobody reads it."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def explain(error: Exception) -> str:
    """Say what the system refused, of which file, and what to do where the disk is full.

    Of other errors, return the text.
    """
    if not isinstance(error, OSError):
        return str(error)
    place = "" if error.filename is None else f"{error.filename}: "
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}the disk is full; free some space, or choose a folder on another disk"
    return f"{place}{error.strerror or error}"
