"""Names and versions of the checkpoints in a folder."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.models.discovery import CheckpointFile, CheckpointFolder, is_name


async def found(place: Path) -> Mapping[str, list[CheckpointFile]]:
    return await CheckpointFolder(place, timeout_s=30).find()


def put(folder: Path, name: str, content: str = "x") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


async def test_a_file_is_a_model_without_a_version_and_a_folder_holds_versions_newest_first(
    tmp_path: Path,
) -> None:
    put(tmp_path, "student.safetensors")
    for version in ("9", "10", "2"):
        put(tmp_path, f"teacher/{version}.safetensors")
    models = await found(tmp_path)
    assert {name: [one.version for one in versions] for name, versions in models.items()} == {
        "student": [None],
        "teacher": ["10", "9", "2"],
    }


async def test_one_checkpoint_may_stand_in_for_a_folder(tmp_path: Path) -> None:
    path = put(tmp_path, "student.safetensors")
    put(tmp_path, "teacher.safetensors")
    assert [one.path for one in (await found(path))["student"]] == [path]
    assert list(await found(path)) == ["student"]


async def test_files_that_are_hidden_or_something_else_are_no_models(tmp_path: Path) -> None:
    for name in (".draft.safetensors", "notes.txt", "student/.2.safetensors", "with space.safetensors"):
        put(tmp_path, name)
    assert await found(tmp_path) == {}


async def test_an_empty_or_missing_folder_has_no_models(tmp_path: Path) -> None:
    assert await found(tmp_path) == await found(tmp_path / "missing") == {}


async def test_a_file_that_is_replaced_has_another_stamp(tmp_path: Path) -> None:
    path = put(tmp_path, "student.safetensors")
    before = (await found(tmp_path))["student"]
    put(tmp_path, "new", "y").replace(path)
    assert (await found(tmp_path))["student"] != before


@pytest.mark.parametrize(
    "text", ["", "..", "a/b", "a..b", "../a", "/a", "a b", ".a", "-a", "ä", "a" * 65, "a\n"]
)
def test_what_could_leave_the_folder_or_confuse_a_log_is_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("text", ["student", "10", "v1.2-rc_3", "A"])
def test_letters_digits_dots_and_dashes_make_a_name(text: str) -> None:
    assert is_name(text)
