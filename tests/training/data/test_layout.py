import codecs
from pathlib import Path

import pytest

from tests.training.data.fabricated import pattern, write_image
from training.data.layout import (
    Findings,
    LayoutError,
    images_in,
    numbered,
    open_all,
    read_header,
    read_text,
)


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


def test_frames_without_leading_zeros_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write_image(tmp_path / f"frame{number}.png", pattern(number))
    (tmp_path / "._frame1.png").write_bytes(b"what macOS leaves")
    assert list(images_in(tmp_path)) == ["frame1", "frame2", "frame10"]


def test_two_images_of_one_name_are_refused_naming_both(tmp_path):
    for name in ("0001.png", "0001.jpg"):
        write_image(tmp_path / name, pattern(1))
    with pytest.raises(LayoutError, match=r"0001\.png: lies beside 0001\.jpg"):
        images_in(tmp_path)


def test_two_names_of_one_number_are_refused(tmp_path):
    with pytest.raises(LayoutError, match=r"07\.png: lies beside 7\.png"):
        numbered([tmp_path / "7.png", tmp_path / "07.png"])
    assert numbered([tmp_path / "7.png", tmp_path / "x7.png"]) == {7: tmp_path / "7.png"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_are_read_as_windows_writes_them(tmp_path, encoding):
    text = "2011_09_26/2011_09_26_drive_0001_sync 1 l\n"
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    (tmp_path / "list.txt").write_bytes(mark + text.encode(encoding))
    assert read_text(tmp_path / "list.txt") == text


def test_what_is_no_text_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes(bytes(range(128, 256)))
    with pytest.raises(LayoutError, match=r"list\.txt: is no text"):
        read_text(tmp_path / "list.txt")


def test_two_images_whose_names_differ_in_capitals_alone_are_refused(tmp_path):
    for name in ("frame1.png", "Frame1.PNG"):
        write_image(tmp_path / name, pattern(1))
    with pytest.raises(LayoutError, match=r"(?i)frame1\.png: lies beside frame1\.png"):
        images_in(tmp_path)
