from pathlib import Path

import pytest

from tests.training.data.fabricated import pattern, write_image
from training.data.layout import Findings, LayoutError, images_in, open_all, read_header


def failing(name):
    def opener():
        findings = Findings(name, "<root>/frames/*.png")
        findings.add(Path("/data") / name, "missing file")
        findings.raise_if_any()

    return opener


def test_all_problems_of_all_data_sets_are_told_at_once_with_the_expected_layouts():
    with pytest.raises(LayoutError) as caught:
        open_all([failing("first"), lambda: 1, failing("second")])
    message = str(caught.value)
    assert "/data/first: missing file" in message
    assert "/data/second: missing file" in message
    assert message.count("<root>/frames/*.png") == 2


def test_many_problems_are_counted_and_only_the_first_are_listed(tmp_path):
    findings = Findings("big", "layout")
    for number in range(1000):
        findings.add(tmp_path / f"{number}.png", "missing file")
    with pytest.raises(LayoutError, match="1000 problems") as caught:
        findings.raise_if_any()
    assert "and 980 more" in str(caught.value)
    assert len(caught.value.problems) == 1000


def test_the_same_problem_twice_counts_once(tmp_path):
    findings = Findings("set", "layout")
    assert not findings.has_file(tmp_path / "calib.txt", "calibration")
    assert not findings.has_file(tmp_path / "calib.txt", "calibration")
    with pytest.raises(LayoutError, match="1 problem\n"):
        findings.raise_if_any()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_whole_image_passes_the_header_check_with_its_size(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", pattern(1, 10, 20))
    header = read_header(tmp_path / f"a{suffix}")
    assert (header.height, header.width, header.trouble) == (10, 20, None)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_that_is_cut_short_fails_the_header_check(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, pattern(1, 64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    assert "cut short" in read_header(path).trouble


def test_a_file_that_is_no_image_fails_the_header_check(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    assert "not a readable image" in read_header(tmp_path / "a.png").trouble
    assert read_header(tmp_path / "missing.png").trouble == "missing file"


def test_hidden_and_other_files_are_not_frames(tmp_path):
    for name in ("2.png", "1.JPG", "timestamps.txt"):
        (tmp_path / name).touch()
    (tmp_path / "._1.png").touch()
    assert list(images_in(tmp_path)) == ["1", "2"]
    assert images_in(tmp_path / "none") == {}
