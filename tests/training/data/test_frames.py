from dataclasses import replace

import numpy as np
import pytest

from tests.training.data.fabricated import depth_steps, pattern, write_image
from training.data.frames import DepthPng, Frame, FrameDataset, FrameError, Moment, MomentView
from training.data.layout import LayoutError

INTRINSICS = np.array([[20, 0, 16], [0, 20, 6], [0, 0, 1]], np.float32)


def moment(tmp_path, name, source=None):
    views = ()
    if source is not None:
        frame = Frame(key=source, path=tmp_path / source)
        views = (MomentView(frame=frame, source_T_target=None, role="next"),)
    return Moment(frame=Frame(key=name, path=tmp_path / name), intrinsics=INTRINSICS, views=views)


def test_frames_are_read_as_rgb(tmp_path):
    write_image(tmp_path / "a.png", pattern(1))
    assert np.array_equal(Frame(key="a", path=tmp_path / "a.png").read(), pattern(1))


def test_a_grey_frame_becomes_three_equal_channels(tmp_path):
    write_image(tmp_path / "grey.png", pattern(3)[..., 0])
    image = Frame(key="grey", path=tmp_path / "grey.png").read()
    assert np.array_equal(image, np.repeat(pattern(3)[..., :1], 3, axis=2))


def test_only_the_kept_rows_of_a_frame_are_read(tmp_path):
    write_image(tmp_path / "a.png", pattern(1))
    frame = Frame(key="a", path=tmp_path / "a.png", rows=(0.0, 0.75))
    assert np.array_equal(frame.read(), pattern(1)[:9])


def test_a_frame_that_vanished_is_named(tmp_path):
    with pytest.raises(FrameError, match=r"gone\.png"):
        Frame(key="gone", path=tmp_path / "gone.png").read()


def test_depth_pngs_hold_metres_times_256(tmp_path):
    write_image(tmp_path / "d.png", depth_steps(row=3, column=4, metres=7.5))
    depth_m = DepthPng(path=tmp_path / "d.png").read(12, 32)
    assert depth_m[3, 4] == 7.5
    assert depth_m.sum() == 7.5


def test_depth_of_another_size_than_its_image_is_refused(tmp_path):
    write_image(tmp_path / "d.png", depth_steps(row=3, column=4, metres=7.5))
    with pytest.raises(FrameError, match=r"\(12, 32\), but its image is \(24, 64\)"):
        DepthPng(path=tmp_path / "d.png").read(24, 64)


def test_an_8_bit_png_is_refused_as_depth(tmp_path):
    write_image(tmp_path / "d.png", pattern(1)[..., 0])
    with pytest.raises(FrameError, match="uint16"):
        DepthPng(path=tmp_path / "d.png").read(12, 32)


def test_verifying_tells_all_that_is_wrong_with_the_files(tmp_path):
    write_image(tmp_path / "good.png", pattern(1))
    write_image(tmp_path / "large.png", pattern(2, 24, 64))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    moments = [
        moment(tmp_path, "good.png", "large.png"),
        moment(tmp_path, "broken.png"),
        moment(tmp_path, "missing.png"),
    ]
    with pytest.raises(LayoutError, match="the layout") as caught:
        FrameDataset("set", "the layout", moments).verify()
    troubles = {problem.path.name: problem.trouble for problem in caught.value.problems}
    assert set(troubles) == {"large.png", "broken.png", "missing.png"}
    assert "(24, 64), but good.png is (12, 32)" in troubles["large.png"]


def test_verifying_looks_at_depth_too(tmp_path):
    write_image(tmp_path / "good.png", pattern(1))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    good = moment(tmp_path, "good.png")
    depths = [DepthPng(path=tmp_path / name) for name in ("broken.png", "missing.png")]
    with pytest.raises(LayoutError) as caught:
        FrameDataset("set", "layout", [replace(good, depth=depth) for depth in depths]).verify()
    assert {problem.path.name for problem in caught.value.problems} == {"broken.png", "missing.png"}


def test_verifying_passes_over_good_files(tmp_path):
    write_image(tmp_path / "good.png", pattern(1))
    FrameDataset("set", "layout", [moment(tmp_path, "good.png", "good.png")]).verify()
