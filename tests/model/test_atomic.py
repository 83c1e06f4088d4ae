import errno

import pytest

from model.atomic import replacing


def test_the_new_file_takes_the_place_only_when_the_block_is_over(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def write_and_fail(path):
    with replacing(path) as partial:
        partial.write_text("half of the n")
        raise RuntimeError("out of ideas")


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="out of ideas"):
        write_and_fail(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_disturb_each_other_and_the_last_to_end_wins(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made(tmp_path):
    with replacing(tmp_path / "new" / "folder" / "a") as partial:
        partial.write_bytes(b"x")
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device", "partial"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_an_os_error_that_names_the_file(tmp_path, failure):
    with pytest.raises(OSError, match="No space left on device") as raised, replacing(tmp_path / "a"):
        raise failure
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "a"))
