"""What docs/readers.md shows of readers that live in an environment of their own, which `make test` makes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.places import FOLDER
from tests.docs.blocks import ROOT, Block, blocks
from tests.e2e.process import Process

PAGE = ROOT / "docs" / "readers.md"
PHOTO = ROOT / "docs" / "pictures" / "street.jpg"
READERS = ("open3d", "rerun")


def readers() -> list[object]:
    return [pytest.param(each, id=str(each)) for each in blocks(PAGE) if each.words.get("needs") in READERS]


@pytest.mark.parametrize("block", readers())
def test_a_reader_reads_depth_as_the_page_shows(block: Block, service: Process, tmp_path: Path) -> None:
    python = FOLDER / "readers" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs {block.words['needs']} in {python.parents[1]}: make test installs it")
    probe = [python, "-c", f"import {block.words['needs']}"]
    if "shared object file" in (
        said := subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    ):
        pytest.skip(f"{block.words['needs']} needs a library of the system: {said.splitlines()[-1]}")
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    code = re.sub(r"localhost:8000\b", f"127.0.0.1:{service.http_port}", block.code)
    done = subprocess.run(
        [python, "-"], input=code, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
