import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import pattern, write_image
from tests.training.worlds import WallWorld
from training.data.frames import DepthPng, Frame, Moment
from training.data.layout import LayoutError
from training.data.mixture import Mixture
from training.data.preflight import check_measured
from training.data.sources import open_sources


def photographs(folder, names, height=12, width=32):
    for number, name in enumerate(names):
        write_image(folder / "rgb" / f"{name}.png", pattern(number, height, width))
    return folder


def depth(folder, name, metres, steps=256, height=12, width=32):
    (folder / "gt").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "gt" / f"{name}.png"), np.full((height, width), metres * steps, np.uint16))


def test_photographs_with_depth_watch_a_run_and_have_no_neighbours(tmp_path):
    photographs(tmp_path, ["3", "13", "60"])
    for name in ("3", "60"):
        depth(tmp_path, name, 7)
    stills = open_sources([f"stills:{tmp_path / 'rgb'}?depth={tmp_path / 'gt'}"])
    stills.verify()
    check_measured(stills)
    assert list(stills.keys) == ["rgb/3", "rgb/60"]
    assert stills[1].sources == ()
    assert np.array_equal(stills[1].depth_m, np.full((12, 32), 7, np.float32))
    assert not stills[1].depth_is_label


def test_depth_in_other_steps_is_read_by_them(tmp_path):
    photographs(tmp_path, ["a"])
    depth(tmp_path, "a", 2, steps=1000)
    stills = open_sources([f"stills:{tmp_path / 'rgb'}?depth={tmp_path / 'gt'}&steps_per_m=1000&fov_deg=80"])
    assert stills[0].depth_m[0, 0] == 2
    assert stills[0].intrinsics_known


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda folder: depth(folder, "b", 1), r"b\.png: has no photograph b\.png or \.jpg"),
        (lambda folder: (folder / "gt").mkdir(), "has no photograph with depth"),
        (lambda folder: None, "missing folder: depth of the photographs"),
    ],
)
def test_depth_that_belongs_to_nothing_is_refused(tmp_path, broken, complaint):
    photographs(tmp_path, ["a"])
    broken(tmp_path)
    with pytest.raises(LayoutError, match=complaint):
        open_sources([f"stills:{tmp_path / 'rgb'}?depth={tmp_path / 'gt'}"])


def test_a_line_whose_depth_could_never_count_is_refused_naming_it(tmp_path):
    watched = []
    for name, metres in (("right", 7), ("nothing", 0), ("far", 200)):
        photographs(tmp_path / name, ["a", "b"])
        for photograph in "ab":
            depth(tmp_path / name, photograph, metres)
        watched.append(f"stills:{tmp_path / name / 'rgb'}?depth={tmp_path / name / 'gt'}&name={name}")
    check_measured(open_sources(watched[:1]))
    with pytest.raises(ValueError, match=r"(?s)2 frames .* is 0, not measured, everywhere.*nothing/rgb"):
        check_measured(open_sources(watched[:2]))
    with pytest.raises(
        ValueError, match=r"(?s)has a median of 200 m.*far/rgb.*expected 0.001 to 80 m; steps_per_m"
    ):
        check_measured(open_sources([watched[0], watched[2]]))
    bare = f"stills:{tmp_path / 'right' / 'rgb'}?name=bare"
    with pytest.raises(ValueError, match=r"(?s)no frame of --validation has measured depth.*right/rgb"):
        check_measured(open_sources([watched[0], bare]))


def test_depth_of_a_few_frames_of_many_is_found(tmp_path):
    class Moments(WallWorld):
        def moment(self, index):
            depth = DepthPng(path=tmp_path) if index == 7 else None
            return Moment(
                frame=Frame(key="", path=tmp_path), intrinsics=np.eye(3, dtype=np.float32), depth=depth
            )

        def __getitem__(self, index):
            assert index == 7
            return super().__getitem__(index)

    check_measured(Mixture([Moments(40)]))


def test_the_share_of_measured_pixels_that_count_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    photographs(tmp_path, ["a", "b"])
    depth(tmp_path, "a", 7)
    depth(tmp_path, "b", 90)
    check_measured(open_sources([f"stills:{tmp_path / 'rgb'}?depth={tmp_path / 'gt'}"]))
    assert "50 % of the measured pixels count (0.001 to 80 m)" in caplog.text


def test_depth_of_eight_bits_or_of_another_size_is_refused_before_it_is_read(tmp_path):
    photographs(tmp_path, ["a", "b"])
    depth(tmp_path, "a", 7, height=6, width=16)
    write_image(tmp_path / "gt" / "b.png", np.full((12, 32), 7, np.uint8))
    stills = open_sources([f"stills:{tmp_path / 'rgb'}?depth={tmp_path / 'gt'}"])
    with pytest.raises(LayoutError) as refused:
        stills.verify()
    assert "a.png: is (6, 16), but its image is (12, 32)" in str(refused.value)
    assert "b.png: has 8 bits a channel; expected a uint16 PNG of depth" in str(refused.value)
