from pathlib import Path

import pytest

from service.contract.errors import InvalidArgument
from service.predict.inputs import find_inputs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def stems(*paths: Path, output: Path = Path("nowhere")) -> dict[str, str]:
    return {one.path.name: str(one.stem) for one in find_inputs(paths, output)}


def test_a_folder_gives_its_photographs_and_videos_with_its_own_tree(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a/c.png", "a/d.mp4", "notes.txt", ".hidden/e.jpg")
    assert stems(tmp_path) == {"c.png": "a/c", "d.mp4": "a/d", "b.JPG": "b"}


def test_a_video_is_told_by_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.MOV")
    assert [one.is_video for one in find_inputs([tmp_path], tmp_path / "out")] == [False, True]


def test_files_that_differ_by_their_endings_keep_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.jpg")
    assert stems(tmp_path) == {"a.jpg": "a.jpg", "a.png": "a.png", "b.jpg": "b"}


def test_a_file_given_twice_is_predicted_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert len(find_inputs([tmp_path / "a.jpg", tmp_path / "a.jpg"], tmp_path / "out")) == 1


def test_what_lies_in_the_output_folder_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "depth/a_depth.png")
    assert stems(tmp_path, output=tmp_path / "depth") == {"a.jpg": "a"}


def test_two_files_of_one_name_are_refused_by_both_names(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jpg", "y/a.jpg")
    with pytest.raises(InvalidArgument, match=r"x/a\.jpg and .*y/a\.jpg have the same name"):
        find_inputs([tmp_path / "x", tmp_path / "y"], tmp_path / "out")


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"none\.jpg is not there"):
        find_inputs([tmp_path / "none.jpg"], tmp_path / "out")


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InvalidArgument, match=r"holds nothing new to predict; expected \.jpg"):
        find_inputs([tmp_path], tmp_path / "out")
