import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import pattern, write_image
from training.data.layout import LayoutError
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
