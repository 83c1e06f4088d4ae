"""Where `make` puts the clients of other makers, and what is missing where it could not."""

import os
import shutil
import sys
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("DEPTH_TEST_CLIENTS", Path(sys.prefix) / "clients"))
SEARCHED = os.pathsep.join((str(FOLDER / "bin"), os.environ["PATH"]))
"""A search path that finds them first."""


def program(name: str) -> str:
    """Return the path of a program, or skip the calling test saying what is missing."""
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        pytest.skip(f"needs {name}, in {FOLDER / 'bin'} or on the path; make test fetches what it can")
    return found


def node_modules() -> Path:
    """Return the folder of npm's packages, or skip the calling test saying what is missing."""
    program("node")
    found = FOLDER / "node" / "node_modules"
    if not found.is_dir():
        pytest.skip(f"needs grpc-js in {found}; make test fetches it where there is npm")
    return found
