import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.checksums import ChecksumError, check_checksums, file_sha256, write_checksums

NAMES = ("network.xml", "network.bin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode() * 100)
    write_checksums(tmp_path / "network.sha256", [tmp_path / name for name in NAMES])
    return tmp_path


def check(folder: Path) -> None:
    check_checksums(folder / "network.sha256", [folder / name for name in NAMES])


def test_files_that_are_as_they_were_written_fit(folder: Path) -> None:
    check(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    place=st.integers(0, 1099),
    size=st.integers(1, 64),
    to=st.binary(max_size=64),
)
def test_whatever_is_changed_does_not_fit(folder: Path, name: str, place: int, size: int, to: bytes) -> None:
    whole = (folder / name).read_bytes()
    changed = whole[:place] + to + whole[place + size :]
    try:
        (folder / name).write_bytes(changed)
        if changed != whole:
            with pytest.raises(ChecksumError, match=name):
                check(folder)
    finally:
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "network.bin").unlink(),
        lambda folder: (folder / "network.sha256").unlink(),
        lambda folder: (folder / "network.sha256").write_text(""),
        lambda folder: (folder / "network.sha256").write_bytes(b"\xff" * 70),
        lambda folder: (folder / "network.sha256").write_text("0" * 64 + "  network.bin\n"),
    ],
)
def test_what_is_missing_or_says_nothing_does_not_fit(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    with pytest.raises(ChecksumError, match="network"):
        check(folder)


def test_the_usual_program_reads_the_sums(folder: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "network.sha256"], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "network.xml: OK\nnetwork.bin: OK\n")


def test_a_sum_is_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
